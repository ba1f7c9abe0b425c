//! Layouts of counter words.

use crate::keyed::table::counts::{Field, Layout, PAUSED, QUEUED, TAKEN};

/// The bits of a word beside the flags.
const BITS: u32 = 61;

fn fields(layout: &Layout) -> Vec<Field> {
    let windows = layout.windows().iter().flat_map(|window| [window.held, window.unlogged]);
    windows.chain(layout.in_flight()).collect()
}

fn bits(max: u64) -> u32 {
    u64::BITS - max.leading_zeros()
}

#[test]
fn k3_counts_of_any_layout_never_overlap() {
    let (mut fit, mut too_wide) = (0, 0);
    for seed in 0..20_000 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut maxima = std::iter::repeat_with(|| {
            let bits = random.u32(1..40);
            random.u64(1..1 << bits)
        });
        let count = seed as usize % 4;
        let windows: Vec<u64> = maxima.by_ref().take(count).collect();
        let in_flight = if seed % 8 < 4 { maxima.next() } else { None };
        let needed =
            windows.iter().map(|max| 2 * bits(*max)).sum::<u32>() + in_flight.map_or(0, bits);
        let layout = match Layout::new(&windows, in_flight) {
            Ok(layout) => layout,
            Err(missing) => {
                assert_eq!(missing, needed - BITS, "seed {seed}");
                too_wide += 1;
                continue;
            }
        };
        assert!(needed <= BITS, "seed {seed}");
        fit += 1;
        let fields = fields(&layout);
        let maxima = windows.iter().flat_map(|max| [*max, *max]).chain(in_flight);
        for (field, max) in fields.iter().zip(maxima) {
            assert!(field.max() >= max, "seed {seed}");
        }
        // Each field alone, then all of them, at their largest.
        let full = |field: &Field| field.of(field.max());
        for field in &fields {
            for other in &fields {
                let expected = if field == other { field.max() } else { 0 };
                assert_eq!(field.get(full(other)), expected, "seed {seed}");
            }
            assert_eq!(field.get(TAKEN | QUEUED | PAUSED), 0, "seed {seed}");
        }
        let word: u64 = fields.iter().map(full).sum();
        assert_eq!(word & (TAKEN | QUEUED | PAUSED), 0, "seed {seed}");
        // n permits are n of each window, and nothing else.
        let most = windows.iter().copied().min().unwrap_or(0);
        let n = random.u64(0..=most.min(u32::MAX.into()));
        let word = layout.permits(n as u32) + layout.request();
        for window in layout.windows() {
            assert_eq!((window.held.get(word), window.unlogged.get(word)), (n, 0), "seed {seed}");
        }
        assert_eq!(layout.in_flight().map(|field| field.get(word)), in_flight.map(|_| 1));
        assert_eq!(layout.is_held(word), n > 0, "seed {seed}");
    }
    assert!(fit > 1_000 && too_wide > 1_000, "{fit} {too_wide}");
}
