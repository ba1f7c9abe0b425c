use fastrand::Rng;

use super::cases;
use crate::{
    shared::pool::{
        Deadline, MAX_PERMITS,
        word::{TICK, Word},
    },
    time::Nanos,
};

/// The last moment that a deadline can stand for.
const LAST: u64 = ((1 << 43) - 1) * TICK;

/// Returns a number of up to 64 bits, each length as likely as the others.
fn any(random: &mut Rng) -> u64 {
    random.u64(..) >> random.u32(..64)
}

#[test]
fn d2_deadline_is_rounded_down_by_less_than_a_tick() {
    let mut random = Rng::with_seed(1);
    for _ in 0..cases() * 100 {
        let at = any(&mut random);
        let deadline = Deadline::at(Nanos::new(at));
        let lapse = deadline.lapse().get();
        assert!(lapse <= at, "{lapse} is after {at}");
        assert!(at - lapse < TICK || lapse == LAST, "{lapse} of {at}");
        assert!(deadline.has_passed(Nanos::new(at)), "no permit is used at its deadline");
        assert!(deadline.has_passed(deadline.lapse()));
        if lapse > 0 {
            assert!(!deadline.has_passed(Nanos::new(lapse - 1)));
        }
        let earlier = deadline.earlier().map(|earlier| earlier.lapse().get());
        assert_eq!(earlier, lapse.checked_sub(TICK));
    }
    assert_eq!(Deadline::at(Nanos::NEVER).lapse().get(), LAST, "too early, and never too late");
}

#[test]
fn d2_word_keeps_its_fields_apart() {
    let mut random = Rng::with_seed(2);
    for _ in 0..cases() * 100 {
        let deadline = Deadline::at(Nanos::new(any(&mut random)));
        let count = random.u32(..=MAX_PERMITS);
        let count = random.choice([0, 1, MAX_PERMITS, count]).unwrap();
        let is_gated = random.bool();
        let word = Word::new(deadline, count, is_gated);
        let fields = |word: Word| (word.deadline(), word.count(), word.is_gated());
        assert_eq!(fields(word), (deadline, count, is_gated));
        assert_eq!(fields(word.gated()), (deadline, count, true));
        assert_eq!(fields(word.ungated()), (deadline, count, false));
        let now = Nanos::new(match random.u32(..4) {
            0 => deadline.lapse().get(),
            1 => deadline.lapse().get().saturating_sub(1),
            _ => any(&mut random),
        });
        let after = word.less_one(now).map(fields);
        let has_permit = count > 0 && now < deadline.lapse();
        assert_eq!(after, has_permit.then(|| (deadline, count - 1, is_gated)));
    }
    assert_eq!(Word::EMPTY.less_one(Nanos::ZERO), None);
}
