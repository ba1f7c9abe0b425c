//! The numbers of requests and replies.

use fastrand::Rng;

use super::wire::{History, Leased, Refund, Reply, Request};

fn request() -> Request {
    Request {
        limit: 1_000,
        window: 1_001_954,
        length: 7_813,
        max_length: 125_000,
        want: 10,
        horizon: 250_000,
        seen: History { epoch: 5, total: 77 },
        mine: 3,
        late: 1,
        is_strict: true,
        refunds: vec![Refund { mark: 90, count: 2 }, Refund { mark: 95, count: 4 }],
    }
}

const NOW: i64 = 1_000_000;
/// The earliest mark of a lease of [`request`] that begins at once.
const MARK: i64 = NOW + 7_813 + 1_001_954;

fn decode(numbers: &[i64]) -> Option<Reply> {
    match Reply::decode(numbers, &request()) {
        Ok(reply) => Some(reply),
        Err(error) => {
            assert_eq!(error.code(), "invalid_reply");
            None
        }
    }
}

#[test]
fn d12_request_is_encoded_in_the_order_of_the_contract() {
    let numbers = [1, 1_000, 1_001_954, 7_813, 125_000, 10, 250_000, 5, 77, 3, 1, 1, 90, 2, 95, 4];
    assert_eq!(request().encode(), numbers);
    let many = Request { mine: u64::MAX, late: u64::MAX, is_strict: false, ..request() };
    assert_eq!(many.encode()[9..12], [i64::MAX, i64::MAX, 0]);
}

#[test]
fn d12_reply_is_decoded_with_its_leases() {
    let reply = decode(&[NOW, 5, 80, 990, 0, 1, 0, 3, MARK, 250_000, 7, MARK + 250_000]);
    let lease = |delay, count, mark| Leased { delay, count, mark };
    let expected = Reply {
        now: NOW,
        seen: History { epoch: 5, total: 80 },
        free: 990,
        when: 0,
        is_other: true,
        leases: vec![lease(0, 3, MARK), lease(250_000, 7, MARK + 250_000)],
    };
    assert_eq!(reply, Some(expected));
    let refused = decode(&[NOW, 5, 80, 0, 400_000, 0]).expect("it is valid");
    assert_eq!((refused.when, refused.leases.len()), (400_000, 0));
}

#[test]
fn d2_d11_malformed_reply_is_an_error_and_brings_no_permit() {
    let good = [NOW, 5, 80, 990, 0, 0, 10, 3, MARK + 10, 20, 7, MARK + 20];
    assert!(decode(&good).is_some());
    for length in 0..good.len() {
        assert_eq!(decode(&good[..length]).is_some(), [6, 9].contains(&length), "{length} numbers");
    }
    assert_eq!(decode(&[&good[..], &[0]].concat()), None, "a number too many");
    let malformed = [
        (0, 0, "no time"),
        (0, -1, "a time before 1970"),
        (0, i64::MAX, "a time without a later one"),
        (1, 0, "no epoch"),
        (1, -1, "a negative epoch"),
        (2, -1, "a negative total"),
        (3, -1, "negative free permits"),
        (3, 1_001, "more free permits than the limit"),
        (3, i64::MAX, "more free permits than a number holds"),
        (4, -1, "a negative time until the next permit"),
        (5, 2, "a flag of 2"),
        (5, -1, "a negative flag"),
        (6, -1, "a lease that has begun before"),
        (6, 21, "leases that are not in the order of their begins"),
        (7, 0, "a lease without permits"),
        (7, -1, "a lease of negative permits"),
        (7, 4, "more permits than were wanted"),
        (7, i64::MAX, "more permits than a number holds"),
        (7, (1 << 32) + 3, "a number that wraps to the right one"),
        (8, MARK + 9, "a mark before the end of the window"),
        (8, 0, "no mark"),
        (8, i64::MIN, "the least mark"),
        (9, 250_001, "a lease beyond the horizon"),
        (9, i64::MAX, "a lease beyond all times"),
        (11, MARK + 19, "a mark before the end of the second lease"),
    ];
    for (index, number, fault) in malformed {
        let mut reply = good;
        reply[index] = number;
        assert_eq!(decode(&reply), None, "{fault}");
    }
}

#[test]
fn d2_d11_no_reply_of_random_numbers_brings_more_than_the_request_allows() {
    let mut random = Rng::with_seed(1);
    let good = [NOW, 5, 80, 990, 0, 0, 10, 3, MARK + 10, 20, 7, MARK + 20];
    let mut valid = 0;
    for _ in 0..20_000 {
        let mut reply = good[..random.usize(..=good.len())].to_vec();
        for number in &mut reply {
            *number = match random.u32(..24) {
                0 => random.i64(..),
                1 => i64::MAX - random.i64(0..3),
                2 => i64::MIN + random.i64(0..3),
                3 => random.i64(-2..12),
                4 => number.wrapping_add(random.i64(-2..3)),
                _ => *number,
            };
        }
        let Some(Reply { now, leases, free, .. }) = decode(&reply) else { continue };
        valid += 1;
        let Request { length, window, want, horizon, limit, .. } = request();
        assert!(free <= limit);
        assert!(leases.iter().map(|lease| u64::from(lease.count)).sum::<u64>() <= want.into());
        assert!(leases.is_sorted_by_key(|lease| lease.delay));
        for Leased { delay, mark, .. } in leases {
            assert!((0..=horizon).contains(&delay) && mark >= now + delay + length + window);
        }
    }
    assert!(valid > 100, "{valid} replies are valid");
}

#[test]
fn d11_error_of_a_malformed_reply_shows_both_sides() {
    let error = Reply::decode(&[4_242], &request()).unwrap_err().to_string();
    assert!(error.contains("[4242]") && error.contains("1001954"), "{error}");
}
