//! What the tests must notice: the sources with one thing wrong.
//!
//! Each mutation names a place and what it is replaced by, and the tests that must fail then: at least one
//! for every model and every oracle, so that none of them stands that could not fail.

/// One thing made wrong.
pub(crate) struct Mutation {
    /// What is wrong, in words.
    pub(crate) what: &'static str,
    pub(crate) file: &'static str,
    /// The replaced text is the first `from` after this.
    pub(crate) within: &'static str,
    pub(crate) from: &'static str,
    pub(crate) to: &'static str,
    /// The target of the tests, and their names. Each of them fails.
    pub(crate) target: &'static str,
    pub(crate) caught_by: &'static [&'static str],
}

const GATE: &str = "src/gate/mod.rs";
const LINE: &str = "src/gate/line.rs";
const LOG: &str = "src/rate_limit/window/log.rs";
const WINDOW: &str = "src/rate_limit/window/mod.rs";
const BUDGET: &str = "src/retry/budget.rs";

const fn model(
    what: &'static str,
    file: &'static str,
    within: &'static str,
    (from, to): (&'static str, &'static str),
    caught_by: &'static [&'static str],
) -> Mutation {
    Mutation { what, file, within, from, to, target: "models", caught_by }
}

const EXCLUSIVE: &str = "a_place_is_held_by_one_at_a_time_and_nobody_is_forgotten";

pub(crate) const MUTATIONS: &[Mutation] = &[
    // The gate: memory orderings.
    model(
        "entering acquires nothing",
        GATE,
        "fn try_enter",
        ("word - PLACE, Acquire, Relaxed", "word - PLACE, Relaxed, Relaxed"),
        &[EXCLUSIVE],
    ),
    model(
        "entering from the line's end acquires nothing",
        GATE,
        "fn join",
        ("word - PLACE, Acquire, Relaxed", "word - PLACE, Relaxed, Relaxed"),
        &[EXCLUSIVE],
    ),
    model(
        "a place comes back without a release",
        GATE,
        "fn put_back",
        ("PLACE, Release", "PLACE, Relaxed"),
        &[EXCLUSIVE, "a_lowered_limit_drains_before_anybody_is_called"],
    ),
    model(
        "handing over acquires nothing",
        GATE,
        "fn next_to_wake",
        (
            "self.word.load(Acquire);
        while grants(word) {
            match self.word.compare_exchange_weak(word, word - PLACE - WAITER, Acquire, Acquire)",
            "self.word.load(Relaxed);
        while grants(word) {
            match self.word.compare_exchange_weak(word, word - PLACE - WAITER, Relaxed, Relaxed)",
        ),
        &["a_lowered_limit_drains_before_anybody_is_called", "draining_is_told_and_seen"],
    ),
    model(
        "who begins to watch acquires nothing",
        GATE,
        "fn watch",
        ("fetch_or(WATCHED, Acquire)", "fetch_or(WATCHED, Relaxed)"),
        &["draining_is_told_and_seen"],
    ),
    model(
        "the end of a pause releases nothing",
        GATE,
        "fn lift",
        ("!BARRED, Release", "!BARRED, Relaxed"),
        &["a_pause_ends_for_those_who_wait"],
    ),
    // The gate: checks and steps.
    model(
        "a newcomer doesn't mind who waits",
        GATE,
        "const fn open",
        ("(WAITING | BARRED)", "BARRED"),
        &["a_newcomer_never_overtakes"],
    ),
    model(
        "a newcomer doesn't mind a bar",
        GATE,
        "const fn open",
        ("(WAITING | BARRED)", "WAITING"),
        &["a_pause_moves_only_forward", "closing_tells_all_who_wait_and_come"],
    ),
    model(
        "handing over doesn't mind a bar",
        GATE,
        "const fn grants",
        ("word & BARRED == 0 && ", ""),
        &["a_refund_in_a_pause_calls_nobody"],
    ),
    model(
        "handing over doesn't mind whether there is room",
        GATE,
        "const fn grants",
        ("room(word) > 0 && ", ""),
        &[EXCLUSIVE, "those_who_wait_go_in_the_order_they_came"],
    ),
    model(
        "a place that comes back is not handed over",
        GATE,
        "fn put_back",
        ("self.hand_over();", ""),
        &[EXCLUSIVE, "draining_is_told_and_seen", "a_refund_reaches_the_one_who_waits"],
    ),
    model(
        "handing over looks for watchers of an older word",
        GATE,
        "fn put_back",
        ("(WAITING | WATCHED)", "WAITING"),
        &["draining_is_told_and_seen", "one_who_watches_no_more_takes_no_call_along"],
    ),
    model(
        "who joins doesn't look again whether there is room",
        GATE,
        "fn join",
        ("if open(word) {", "if false {"),
        &[EXCLUSIVE],
    ),
    model(
        "who joins is counted after it stands in the line, without looking",
        GATE,
        "fn join",
        (
            "match self.word.compare_exchange_weak(word, word + WAITER, Relaxed, Relaxed) {",
            "match Ok::<u64, u64>(self.word.fetch_add(WAITER, Relaxed)) {",
        ),
        &[EXCLUSIVE],
    ),
    model(
        "who gives up keeps a place it was given meanwhile",
        GATE,
        "fn give_up",
        ("Err(call) => call == Call::Enter", "Err(_) => false"),
        &["giving_up_loses_neither_a_place_nor_a_call"],
    ),
    model(
        "who gives up is counted on",
        GATE,
        "fn give_up",
        ("self.word.fetch_sub(WAITER, Relaxed);", ""),
        &["giving_up_loses_neither_a_place_nor_a_call"],
    ),
    model(
        "who gives up after it was dismissed has a place",
        GATE,
        "fn give_up",
        ("Err(call) => call == Call::Enter", "Err(_) => true"),
        &["closing_and_giving_up_at_once_lose_nothing"],
    ),
    model(
        "a raised limit calls nobody",
        GATE,
        "fn set_limit",
        ("self.hand_over();", ""),
        &["a_changed_limit_counts_at_once"],
    ),
    model(
        "a lowered limit takes no place away",
        GATE,
        "fn set_limit",
        (
            "i64::from(limit) - i64::from(books.limit)",
            "(i64::from(limit) - i64::from(books.limit)).max(0)",
        ),
        &[
            "a_changed_limit_counts_at_once",
            "a_lowered_limit_drains_before_anybody_is_called",
            "a_lowered_limit_counts_at_once",
        ],
    ),
    model(
        "a pause is noted without the mutex",
        GATE,
        "fn bar",
        ("let _books = self.books.lock();", ""),
        &["a_pause_moves_only_forward"],
    ),
    model(
        "a bar is lifted without asking whether it is over",
        GATE,
        "fn lift",
        ("|| !over()", "|| { let _ = over; false }"),
        &["a_pause_moves_only_forward"],
    ),
    model(
        "the end of a pause calls nobody",
        GATE,
        "fn lift",
        ("self.hand_over();", ""),
        &["a_pause_ends_for_those_who_wait"],
    ),
    model(
        "closing tells nobody in the line",
        GATE,
        "fn close",
        (
            "while let Some(waker) = self.next_to_dismiss() {",
            "while let Some(waker) = None::<Waker> {",
        ),
        &["closing_tells_all_who_wait_and_come"],
    ),
    model(
        "closing lets newcomers in",
        GATE,
        "fn close",
        ("self.word.fetch_or(BARRED, Relaxed);", ""),
        &["closing_tells_all_who_wait_and_come"],
    ),
    model(
        "closing lets newcomers join",
        GATE,
        "fn close",
        ("books.closed = true;", "books.closed = books.closed;"),
        &["closing_tells_all_who_wait_and_come"],
    ),
    model(
        "who is dismissed is counted on",
        GATE,
        "fn next_to_dismiss",
        ("self.word.fetch_sub(WAITER, Relaxed);", ""),
        &["closing_tells_all_who_wait_and_come"],
    ),
    model(
        "who watches looks before it says so",
        GATE,
        "fn watch",
        (
            "let word = self.word.fetch_or(WATCHED, Acquire);",
            "let word = self.word.load(Acquire);
        if !books.drained(word) {
            self.word.fetch_or(WATCHED, Acquire);
        }",
        ),
        &["draining_is_told_and_seen"],
    ),
    model(
        "who watches no more silences the others",
        GATE,
        "fn unwatch",
        ("if books.watchers.is_empty() {", "{"),
        &["one_who_watches_no_more_takes_no_call_along"],
    ),
    model(
        "drained is when nobody is inside, whoever waits",
        GATE,
        "fn drained(&self",
        ("waiting(word) == 0 && ", ""),
        &["who_waits_keeps_it_from_being_drained"],
    ),
    // The line.
    model(
        "the first waker is woken, not the last",
        LINE,
        "fn wait_on",
        ("_ => waiter.waker.replace(waker.clone()),", "_ => Some(waker.clone()),"),
        &["a_waker_that_changes_is_the_one_that_is_woken"],
    ),
    model(
        "the last is called first",
        LINE,
        "fn call(",
        ("let index = self.head;", "let index = self.tail;"),
        &["those_who_wait_go_in_the_order_they_came"],
    ),
    // The log: memory orderings.
    model(
        "an issue is counted without acquiring those before",
        LOG,
        "fn issue(",
        ("AcqRel", "Release"),
        &["a_time_is_noted_after_all_it_covers"],
    ),
    model(
        "an issue is counted without releasing it",
        LOG,
        "fn issue(",
        ("AcqRel", "Acquire"),
        &["a_time_is_noted_after_all_it_covers"],
    ),
    model(
        "who closes a stride acquires no issues",
        LOG,
        "fn issued(",
        ("issued.load(Acquire)", "issued.load(Relaxed)"),
        &["an_open_stride_is_closed_by_whoever_looks"],
    ),
    model(
        "an entry is marked without releasing its time",
        LOG,
        "fn observe",
        (".pack(), Release)", ".pack(), Relaxed)"),
        &["a_sliding_window_never_issues_too_many", "a_fixed_window_never_issues_too_many"],
    ),
    model(
        "an entry is read without acquiring its time",
        LOG,
        "fn entry",
        ("mark.load(Acquire)", "mark.load(Relaxed)"),
        &["a_sliding_window_never_issues_too_many", "a_fixed_window_never_issues_too_many"],
    ),
    model(
        "retiring releases and acquires nothing",
        LOG,
        "fn retire",
        ("next.pack(), AcqRel, Acquire", "next.pack(), Relaxed, Relaxed"),
        &["the_log_goes_round"],
    ),
    model(
        "the ends are read without acquiring",
        LOG,
        "fn ends",
        ("oldest.load(Acquire)", "oldest.load(Relaxed)"),
        &["the_log_goes_round"],
    ),
    model(
        "the newer end is read first",
        LOG,
        "fn ends",
        (
            "let oldest = Pair::unpack(self.oldest.load(Acquire));
        let newest = Pair::unpack(self.newest.load(Relaxed));",
            "let newest = Pair::unpack(self.newest.load(Relaxed));
        let oldest = Pair::unpack(self.oldest.load(Acquire));",
        ),
        &["the_log_goes_round"],
    ),
    // The log: checks and steps.
    model(
        "a full log is written over",
        LOG,
        "fn observe",
        (">= self.slots.len()", "> self.slots.len() + 1"),
        &["a_full_log_loses_no_place"],
    ),
    model(
        "counts may go backwards",
        LOG,
        "fn observe",
        ("!beyond(issues, newest.issues) || ", ""),
        &["a_time_is_noted_after_all_it_covers"],
    ),
    model(
        "a slot that is not written yet is read",
        LOG,
        "fn entry",
        ("(mark.slot == number)", "(mark.slot == number || mark.issues != 0)"),
        &["the_log_goes_round"],
    ),
    model(
        "an entry is retired by two",
        LOG,
        "fn retire",
        (
            "self.oldest.compare_exchange_weak(word, next.pack(), AcqRel, Acquire)",
            "Ok::<u64, u64>(self.oldest.swap(next.pack(), AcqRel))",
        ),
        &["the_log_goes_round", "a_fixed_window_rolls_over_once"],
    ),
    model(
        "a time is known only if no newer one is being written",
        LOG,
        "fn time_of",
        (
            "let (mut low, mut high)",
            "self.entry(newest.slot.wrapping_sub(1))?;
        let (mut low, mut high)",
        ),
        &["the_next_place_is_known_while_others_are_noted"],
    ),
    // The windows.
    model(
        "a place comes back a moment early",
        WINDOW,
        "fn refill",
        ("self.due(time) <= moment", "self.due(time) <= moment.after(Duration::from_nanos(1))"),
        &[
            "a_sliding_window_never_issues_too_many",
            "a_fixed_window_never_issues_too_many",
            "a_stride_holds_both_its_issues_long_enough",
        ],
    ),
    model(
        "the time is read before the issue is counted",
        WINDOW,
        "fn issue(",
        (
            "let issued = self.log.issue();",
            "let moment = now();
        let now = || moment;
        let issued = self.log.issue();",
        ),
        &["a_time_is_noted_after_all_it_covers"],
    ),
    model(
        "an open stride is closed with the time of before the count",
        WINDOW,
        "fn refill",
        (
            "self.log.observe(self.log.issued(), now);",
            "self.log.observe(self.log.issued(), || moment);",
        ),
        &["an_open_stride_is_closed_by_whoever_looks"],
    ),
    model(
        "an open stride is never closed",
        WINDOW,
        "fn refill",
        ("if held.open > 0 && held.spare", "if false && held.open > 0 && held.spare"),
        &["an_open_stride_is_closed_by_whoever_looks"],
    ),
    model(
        "what is due comes back to nobody",
        WINDOW,
        "fn refill",
        ("places > 0 && self.gate.put_back(places)", "places > 0 && false"),
        &["the_log_goes_round", "a_fixed_window_rolls_over_once"],
    ),
    model(
        "a fixed place comes back at the boundary before",
        WINDOW,
        "fn due",
        ("Nanos::new(time.get() - into).after(length)", "Nanos::new(time.get() - into)"),
        &["a_fixed_window_never_issues_too_many"],
    ),
    model(
        "the length is read before the entry",
        WINDOW,
        "fn refill",
        (
            "let places = self.log.retire(|time| self.due(time) <= moment);",
            "let length = self.length();
        let places = self.log.retire(|time| time.after(length) <= moment);",
        ),
        &["a_longer_window_holds_for_what_is_issued_from_then_on"],
    ),
    model(
        "a shorter window lets nobody go",
        WINDOW,
        "fn set_length",
        ("self.refill(&now);", ""),
        &["a_shorter_window_lets_go_at_once"],
    ),
    model(
        "a raised limit raises nothing",
        WINDOW,
        "fn set_limit",
        ("self.gate.set_limit(limit, ", "self.gate.set_limit(self.gate.read().limit, "),
        &["a_raised_limit_keeps_what_is_noted"],
    ),
    model(
        "a pause may move backwards",
        WINDOW,
        "fn pause",
        (
            "self.paused_until.fetch_max(until.get(), Relaxed);",
            "self.paused_until.store(until.get(), Relaxed);",
        ),
        &["a_pause_moves_only_forward"],
    ),
    model(
        "what is given back unissued is lost",
        WINDOW,
        "fn give_back",
        ("if self.gate.put_back(1) {", "if false {"),
        &["a_refund_reaches_the_one_who_waits"],
    ),
    // The budget.
    model(
        "a withdrawal is two steps",
        BUDGET,
        "fn withdraw_saved",
        (
            "let paid = balance.fetch_update(Relaxed, Relaxed, |now| now.checked_sub(RETRY));",
            "let now = balance.load(Relaxed);
        let paid = now.checked_sub(RETRY).ok_or(now);
        if let Ok(left) = paid {
            balance.store(left, Relaxed);
        }",
        ),
        &["nothing_is_withdrawn_twice", "nothing_is_overdrawn"],
    ),
    model(
        "a deposit is two steps",
        BUDGET,
        "fn deposit(",
        (
            "balance.compare_exchange_weak(now, next, Relaxed, Relaxed)",
            "Ok::<u64, u64>(balance.swap(next, Relaxed))",
        ),
        &["nothing_is_withdrawn_twice"],
    ),
    model(
        "savings have no bound",
        BUDGET,
        "fn deposit(",
        (
            "while now < self.most {
            let next = now.saturating_add(self.deposit).min(self.most);",
            "loop {
            let next = now.saturating_add(self.deposit);",
        ),
        &["savings_stay_bounded"],
    ),
    model(
        "the floor is taken in two steps",
        BUDGET,
        "fn withdraw_floor",
        (
            "self.account.floor.fetch_update(Relaxed, Relaxed, next).is_ok()",
            "let until = next(self.account.floor.load(Relaxed));
        until.inspect(|&until| self.account.floor.store(until, Relaxed)).is_some()",
        ),
        &["the_floor_is_given_once"],
    ),
];
