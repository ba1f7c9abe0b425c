//! Words that are changed together, under the model checker.

use loom::sync::Arc;

use crate::{Model, join, live_words::LiveWords, spawn};

const PREEMPTIONS: usize = 4;

/// R12: a reader sees the words of one change, and never of an earlier one than before.
///
/// The main thread changes. The checker remembers the last access of a word only, so it does not
/// find that a store races with a load of another thread if the changing thread has loaded the word
/// in between. Run later, the loads of the reader may return each value that the orderings allow.
#[test]
fn r12_reader_beside_changes_sees_no_mixture() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let words = Arc::new(LiveWords::new([0, 0]));
        let other = spawn(&words, |words: &LiveWords<2>| {
            let mut last = 0;
            for _ in 0..2 {
                let [one, two] = words.read();
                assert_eq!(one, two, "the words are of two changes");
                assert!(one >= last, "an earlier change follows a later one");
                last = one;
            }
        });
        words.change(|words| *words = [1, 1]);
        words.change(|words| *words = [2, 2]);
        other.join().expect("its thread ends");
        assert_eq!(words.read(), [2, 2]);
    });
}

/// R12: two changes at once both take effect, in one order or the other.
#[test]
fn r12_changes_of_two_threads_are_both_made() {
    Model { threads: 2, preemptions: PREEMPTIONS }.check(|| {
        let words = Arc::new(LiveWords::new([0, 0]));
        let add = |words: &LiveWords<2>| words.change(|words| *words = words.map(|word| word + 1));
        let other = spawn(&words, add);
        add(&words);
        join([other]);
        assert_eq!(words.read(), [2, 2]);
    });
}
