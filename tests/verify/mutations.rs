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
    /// The target of the tests, and their names. Each of them fails. (None is named that would hang.)
    pub(crate) target: &'static str,
    pub(crate) caught_by: &'static [&'static str],
}

const GATE: &str = "src/gate/mod.rs";
const LINE: &str = "src/gate/line.rs";
const LOG: &str = "src/rate_limit/window/log.rs";
const WINDOW: &str = "src/rate_limit/window/mod.rs";
const BUDGET: &str = "src/retry/budget.rs";

const SEAT: &str = "src/seat.rs";
const BACKPRESSURE: &str = "src/backpressure/limiter.rs";
const RATE_LIMIT: &str = "src/rate_limit/limiter.rs";
const BACKOFF: &str = "src/retry/backoff.rs";
const POLICY: &str = "src/retry/policy.rs";
const CAUSE: &str = "src/cause.rs";

/// The targets of the tests.
const MODELS: &str = "models";
const PROMISES: &str = "promises";
const CONTRACT: &str = "contract";
const EDGES: &str = "edges";

const fn mutation(
    target: &'static str,
    what: &'static str,
    file: &'static str,
    within: &'static str,
    (from, to): (&'static str, &'static str),
    caught_by: &'static [&'static str],
) -> Mutation {
    Mutation { what, file, within, from, to, target, caught_by }
}

const NAIVE_GATE: &str = "b2_the_gate_is_as_the_naive_one";
const NAIVE_WINDOW: &str = "w1_the_window_is_as_the_naive_one";
const EXCLUSIVE: &str = "a_place_is_held_by_one_at_a_time_and_nobody_is_forgotten";

pub(crate) const MUTATIONS: &[Mutation] = &[
    // The gate: memory orderings.
    mutation(
        MODELS,
        "entering acquires nothing",
        GATE,
        "fn try_enter",
        ("word - PLACE, Acquire, Relaxed", "word - PLACE, Relaxed, Relaxed"),
        &[EXCLUSIVE],
    ),
    mutation(
        MODELS,
        "entering from the line's end acquires nothing",
        GATE,
        "fn join",
        ("word - PLACE, Acquire, Relaxed", "word - PLACE, Relaxed, Relaxed"),
        &[EXCLUSIVE],
    ),
    mutation(
        MODELS,
        "a place comes back without a release",
        GATE,
        "fn put_back",
        ("PLACE, Release", "PLACE, Relaxed"),
        &[EXCLUSIVE, "a_lowered_limit_drains_before_anybody_is_called"],
    ),
    mutation(
        MODELS,
        "handing over acquires nothing",
        GATE,
        "fn next_to_wake",
        ("self.word.load(Acquire)", "self.word.load(Relaxed)"),
        &["a_lowered_limit_drains_before_anybody_is_called", "draining_is_told_and_seen"],
    ),
    mutation(
        MODELS,
        "how things stand is read without acquiring",
        GATE,
        "fn read",
        ("self.word.load(Acquire)", "self.word.load(Relaxed)"),
        &["what_is_read_was_done"],
    ),
    mutation(
        MODELS,
        "who begins to watch acquires nothing",
        GATE,
        "fn watch",
        ("fetch_or(WATCHED, Acquire)", "fetch_or(WATCHED, Relaxed)"),
        &["draining_is_told_and_seen"],
    ),
    mutation(
        MODELS,
        "the end of a pause releases nothing",
        GATE,
        "fn lift",
        ("!BARRED, Release", "!BARRED, Relaxed"),
        &["a_pause_ends_for_those_who_wait"],
    ),
    // The gate: checks and steps.
    mutation(
        MODELS,
        "a newcomer doesn't mind who waits",
        GATE,
        "const fn open",
        ("(WAITING | BARRED)", "BARRED"),
        &["a_newcomer_never_overtakes"],
    ),
    mutation(
        MODELS,
        "a newcomer doesn't mind a bar",
        GATE,
        "const fn open",
        ("(WAITING | BARRED)", "WAITING"),
        &["a_pause_moves_only_forward", "closing_tells_all_who_wait_and_come"],
    ),
    mutation(
        MODELS,
        "handing over doesn't mind a bar",
        GATE,
        "const fn grants",
        ("word & BARRED == 0 && ", ""),
        &["a_refund_in_a_pause_calls_nobody"],
    ),
    mutation(
        MODELS,
        "handing over doesn't mind whether there is room",
        GATE,
        "const fn grants",
        ("room(word) > 0 && ", ""),
        &[EXCLUSIVE, "those_who_wait_go_in_the_order_they_came"],
    ),
    mutation(
        MODELS,
        "a place that comes back is not handed over",
        GATE,
        "fn put_back",
        ("self.hand_over();", ""),
        &[EXCLUSIVE, "draining_is_told_and_seen", "a_refund_reaches_the_one_who_waits"],
    ),
    mutation(
        MODELS,
        "a place that comes back tells nobody who watches",
        GATE,
        "fn put_back",
        ("(WAITING | WATCHED)", "WAITING"),
        &[
            "draining_is_told_and_seen",
            "one_who_watches_no_more_takes_no_call_along",
            "draining_is_told_when_the_last_who_waits_gives_up",
        ],
    ),
    mutation(
        MODELS,
        "who joins doesn't look again whether there is room",
        GATE,
        "fn join",
        ("if open(word) {", "if false {"),
        &[EXCLUSIVE],
    ),
    mutation(
        MODELS,
        "who joins is counted after it stands in the line, without looking",
        GATE,
        "fn join",
        (
            "match self.word.compare_exchange_weak(word, word + WAITER, Relaxed, Relaxed) {",
            "match Ok::<u64, u64>(self.word.fetch_add(WAITER, Relaxed)) {",
        ),
        &[EXCLUSIVE],
    ),
    mutation(
        MODELS,
        "who gives up keeps a place it was given meanwhile",
        GATE,
        "fn give_up",
        ("Err(call) => call == Call::Enter", "Err(_) => false"),
        &["giving_up_loses_neither_a_place_nor_a_call"],
    ),
    mutation(
        MODELS,
        "who gives up is counted on",
        GATE,
        "fn give_up",
        ("self.word.fetch_sub(WAITER, Relaxed);", ""),
        &["giving_up_loses_neither_a_place_nor_a_call"],
    ),
    mutation(
        MODELS,
        "who gives up after it was dismissed has a place",
        GATE,
        "fn give_up",
        ("Err(call) => call == Call::Enter", "Err(_) => true"),
        &["closing_and_giving_up_at_once_lose_nothing"],
    ),
    mutation(
        MODELS,
        "a raised limit calls nobody",
        GATE,
        "fn set_limit",
        ("self.hand_over();", ""),
        &["a_changed_limit_counts_at_once"],
    ),
    mutation(
        MODELS,
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
    mutation(
        MODELS,
        "a pause is noted without the mutex",
        GATE,
        "fn bar",
        ("let _books = self.books.lock();", ""),
        &["a_pause_moves_only_forward"],
    ),
    mutation(
        MODELS,
        "a bar is lifted without asking whether it is over",
        GATE,
        "fn lift",
        ("|| !over()", "|| { let _ = over; false }"),
        &["a_pause_moves_only_forward"],
    ),
    mutation(
        MODELS,
        "the end of a pause calls nobody",
        GATE,
        "fn lift",
        ("self.hand_over();", ""),
        &["a_pause_ends_for_those_who_wait"],
    ),
    mutation(
        MODELS,
        "closing tells nobody in the line",
        GATE,
        "fn next_to_wake",
        ("if books.closed {", "if false {"),
        &["closing_tells_all_who_wait_and_come"],
    ),
    mutation(
        MODELS,
        "closing lets newcomers in",
        GATE,
        "fn close",
        ("self.word.fetch_or(BARRED, Relaxed);", ""),
        &["closing_tells_all_who_wait_and_come"],
    ),
    mutation(
        MODELS,
        "closing lets newcomers join",
        GATE,
        "fn close",
        ("books.closed = true;", "books.closed = books.closed;"),
        &["closing_tells_all_who_wait_and_come"],
    ),
    mutation(
        MODELS,
        "who is dismissed is counted on",
        GATE,
        "fn next_to_wake",
        ("self.word.fetch_sub(WAITER, Relaxed);", ""),
        &["closing_tells_all_who_wait_and_come"],
    ),
    mutation(
        MODELS,
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
    mutation(
        MODELS,
        "who watches no more silences the others",
        GATE,
        "fn unwatch",
        ("if books.watchers.is_empty() {", "{"),
        &["one_who_watches_no_more_takes_no_call_along"],
    ),
    mutation(
        MODELS,
        "drained is when nobody is inside, whoever waits",
        GATE,
        "fn drained(&self",
        ("waiting(word) == 0 && ", ""),
        &["who_waits_keeps_it_from_being_drained"],
    ),
    // The line.
    mutation(
        MODELS,
        "the first waker is woken, not the last",
        LINE,
        "fn wait_on",
        ("_ => waiter.waker.replace(waker.clone()),", "_ => Some(waker.clone()),"),
        &["a_waker_that_changes_is_the_one_that_is_woken"],
    ),
    mutation(
        MODELS,
        "the last is called first",
        LINE,
        "fn call(",
        ("let index = self.head;", "let index = self.tail;"),
        &["those_who_wait_go_in_the_order_they_came"],
    ),
    // The log: memory orderings.
    mutation(
        MODELS,
        "an issue is counted without acquiring those before",
        LOG,
        "fn issue(",
        ("AcqRel", "Release"),
        &["a_time_is_noted_after_all_it_covers"],
    ),
    mutation(
        MODELS,
        "an issue is counted without releasing it",
        LOG,
        "fn issue(",
        ("AcqRel", "Acquire"),
        &["a_time_is_noted_after_all_it_covers"],
    ),
    mutation(
        MODELS,
        "who closes a stride acquires no issues",
        LOG,
        "fn issued(",
        ("issued.load(Acquire)", "issued.load(Relaxed)"),
        &["an_open_stride_is_closed_by_whoever_looks"],
    ),
    mutation(
        MODELS,
        "an entry is marked without releasing its time",
        LOG,
        "fn observe",
        (".pack(), Release)", ".pack(), Relaxed)"),
        &["a_sliding_window_never_issues_too_many", "a_fixed_window_never_issues_too_many"],
    ),
    mutation(
        MODELS,
        "an entry is read without acquiring its time",
        LOG,
        "fn entry",
        ("mark.load(Acquire)", "mark.load(Relaxed)"),
        &["a_sliding_window_never_issues_too_many", "a_fixed_window_never_issues_too_many"],
    ),
    mutation(
        MODELS,
        "retiring releases nothing",
        LOG,
        "fn retire",
        ("next.pack(), Release, Relaxed", "next.pack(), Relaxed, Relaxed"),
        &["the_log_goes_round"],
    ),
    mutation(
        MODELS,
        "the ends are read without acquiring",
        LOG,
        "fn ends",
        ("oldest.load(Acquire)", "oldest.load(Relaxed)"),
        &["the_log_goes_round"],
    ),
    mutation(
        MODELS,
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
    mutation(
        MODELS,
        "a full log is written over",
        LOG,
        "fn observe",
        (">= self.slots.len()", "> self.slots.len() + 1"),
        &["a_full_log_loses_no_place"],
    ),
    mutation(
        MODELS,
        "counts may go backwards",
        LOG,
        "fn observe",
        ("!issues.beyond(newest.issues)", "false"),
        &["a_time_is_noted_after_all_it_covers"],
    ),
    mutation(
        MODELS,
        "a slot that is not written yet is read",
        LOG,
        "fn entry",
        ("(mark.slot == number)", "(mark.slot == number || mark.issues != BEGIN.issues)"),
        &["the_log_goes_round"],
    ),
    mutation(
        MODELS,
        "an entry is retired by two",
        LOG,
        "fn retire",
        (
            "self.oldest.compare_exchange_weak(word, next.pack(), Release, Relaxed)",
            "Ok::<u64, u64>(self.oldest.swap(next.pack(), AcqRel))",
        ),
        &["the_log_goes_round", "a_fixed_window_rolls_over_once"],
    ),
    mutation(
        MODELS,
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
    mutation(
        MODELS,
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
    mutation(
        MODELS,
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
    mutation(
        MODELS,
        "an open stride is closed with the time of before the count",
        WINDOW,
        "fn refill",
        (
            "self.log.observe(self.log.issued(), now);",
            "self.log.observe(self.log.issued(), || moment);",
        ),
        &["an_open_stride_is_closed_by_whoever_looks"],
    ),
    mutation(
        MODELS,
        "an open stride is never closed",
        WINDOW,
        "fn refill",
        ("if held.open > 0 && held.spare", "if false && held.open > 0 && held.spare"),
        &["an_open_stride_is_closed_by_whoever_looks"],
    ),
    mutation(
        MODELS,
        "what is due comes back to nobody",
        WINDOW,
        "fn refill",
        ("places > 0 && self.gate.put_back(places)", "places > 0 && false"),
        &["the_log_goes_round", "a_fixed_window_rolls_over_once"],
    ),
    mutation(
        MODELS,
        "a fixed place comes back at the boundary before",
        WINDOW,
        "fn due",
        ("Nanos::new(time.get() - into).after(length)", "Nanos::new(time.get() - into)"),
        &["a_fixed_window_never_issues_too_many"],
    ),
    mutation(
        MODELS,
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
    mutation(
        MODELS,
        "a shorter window lets nobody go",
        WINDOW,
        "fn set_length",
        ("self.refill(&now);", ""),
        &["a_shorter_window_lets_go_at_once"],
    ),
    mutation(
        MODELS,
        "a raised limit raises nothing",
        WINDOW,
        "fn set_limit",
        ("self.gate.set_limit(limit, ", "self.gate.set_limit(self.gate.read().limit, "),
        &["a_raised_limit_keeps_what_is_noted"],
    ),
    mutation(
        MODELS,
        "everybody looks all the time",
        WINDOW,
        "fn look",
        (".max(moment.after(TICK))", ".max(moment)"),
        &["nobody_is_told_to_look_again_at_once"],
    ),
    mutation(
        MODELS,
        "a pause may move backwards",
        WINDOW,
        "fn pause",
        (
            "self.paused_until.fetch_max(until.get(), Relaxed);",
            "self.paused_until.store(until.get(), Relaxed);",
        ),
        &["a_pause_moves_only_forward"],
    ),
    mutation(
        MODELS,
        "what is given back unissued is lost",
        WINDOW,
        "fn give_back",
        ("if self.gate.put_back(1) {", "if false {"),
        &["a_refund_reaches_the_one_who_waits"],
    ),
    // The budget.
    mutation(
        MODELS,
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
    mutation(
        MODELS,
        "a deposit is two steps",
        BUDGET,
        "fn deposit(",
        (
            "balance.compare_exchange_weak(now, next, Relaxed, Relaxed)",
            "Ok::<u64, u64>(balance.swap(next, Relaxed))",
        ),
        &["nothing_is_withdrawn_twice"],
    ),
    mutation(
        MODELS,
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
    mutation(
        MODELS,
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
    // What a clone has at its limiter.
    mutation(
        PROMISES,
        "who goes away while it waits stays in the line",
        SEAT,
        "fn vacate",
        ("self.limiter.give_up(waiting.ticket)", "std::mem::forget(waiting)"),
        &[NAIVE_GATE, NAIVE_WINDOW, "b4_giving_up_frees_the_place_in_line_at_once"],
    ),
    mutation(
        PROMISES,
        "who goes away ready keeps its place",
        SEAT,
        "fn vacate",
        (
            "State::Held | State::Ready => self.limiter.give_back()",
            "State::Held | State::Ready => {}",
        ),
        &[NAIVE_GATE, NAIVE_WINDOW, "w4_ready_and_then_dropped_gives_the_place_to_the_next"],
    ),
    mutation(
        CONTRACT,
        "a clone of a ready service is ready",
        SEAT,
        "impl<L: Limiter> Clone",
        (
            "Self::new(Arc::clone(&self.limiter), self.bounds)",
            "let mut clone = Self::new(Arc::clone(&self.limiter), self.bounds);
        if matches!(self.state, State::Ready) {
            clone.state = State::Ready;
        }
        clone",
        ),
        &["a_clone_of_a_ready_service_is_not_ready_and_holds_nothing"],
    ),
    mutation(
        PROMISES,
        "an error of readiness keeps the place",
        SEAT,
        "fn poll_ready<E>",
        ("Err(_) => self.vacate()", "Err(_) => {}"),
        &["c3_an_error_of_readiness_passes_and_gives_the_place_back"],
    ),
    mutation(
        PROMISES,
        "a service may be called before the inner one is ready",
        SEAT,
        "fn take",
        ("State::Ready => {", "State::Ready | State::Held => {"),
        &["c3_calling_without_readiness_panics_and_says_so"],
    ),
    mutation(
        PROMISES,
        "a place comes back when the response is dropped, not when it is there",
        "src/backpressure/future.rs",
        "fn poll",
        ("*this.permit = None;", ""),
        &["b1_a_place_is_held_from_readiness_to_the_end_of_the_response"],
    ),
    mutation(
        PROMISES,
        "a call that panics is not issued",
        "src/rate_limit/service.rs",
        "fn call",
        (
            "let _issuing = self.seat.limiter().issuing();
                ResponseFuture::issued(self.inner.call(request))",
            "let future = self.inner.call(request);
                drop(self.seat.limiter().issuing());
                ResponseFuture::issued(future)",
        ),
        &["c4_a_panic_in_the_inner_call_counts_as_issued"],
    ),
    mutation(
        PROMISES,
        "a waker that panics keeps the others from their turn",
        GATE,
        "fn hand_over",
        ("if std::thread::panicking() {", "if false {"),
        &["c4_a_waker_that_panics_loses_nothing_of_others"],
    ),
    // The bounds.
    mutation(
        PROMISES,
        "one more may wait at the gate",
        BACKPRESSURE,
        "fn arrive",
        ("standing.ahead >= bounds", "standing.ahead > bounds"),
        &[NAIVE_GATE],
    ),
    mutation(
        PROMISES,
        "one may wait a moment longer at the gate",
        BACKPRESSURE,
        "fn look",
        ("self.clock.now() < again", "self.clock.now() <= again"),
        &[NAIVE_GATE],
    ),
    mutation(
        PROMISES,
        "one more may wait at the window",
        RATE_LIMIT,
        "fn arrive",
        ("waiting >= bounds", "waiting > bounds"),
        &[NAIVE_WINDOW],
    ),
    mutation(
        PROMISES,
        "who could go at the last moment is turned away",
        RATE_LIMIT,
        "fn arrive",
        ("expected > deadline", "expected >= deadline"),
        &[NAIVE_WINDOW],
    ),
    mutation(
        PROMISES,
        "who is held up waits to the end",
        RATE_LIMIT,
        "fn look",
        (" || expected.earliest > *deadline", ""),
        &[NAIVE_WINDOW, "w5_who_is_held_up_in_the_line_is_turned_away_when_that_is_known"],
    ),
    // Who is told when.
    mutation(
        PROMISES,
        "a pause is left out of what is expected",
        WINDOW,
        "fn expected",
        ("first.max(moment).max(Nanos::new(self.paused_until.load(Relaxed)))", "first.max(moment)"),
        &[NAIVE_WINDOW, "w7_a_pause_holds_back_everybody_and_moves_only_forward"],
    ),
    mutation(
        PROMISES,
        "who goes on the place of another is expected a round early",
        WINDOW,
        "fn expected",
        ("(index - taken) / limit + 1", "(index - taken) / limit"),
        &[NAIVE_WINDOW],
    ),
    mutation(
        PROMISES,
        "the head is not told that one before it gave up",
        WINDOW,
        "fn give_up",
        ("if !entered {", "if false {"),
        &[NAIVE_WINDOW, "c5_the_line_moves_up_when_the_head_gives_up"],
    ),
    mutation(
        PROMISES,
        "the head is not told of a longer wait than need be",
        LINE,
        "fn rouse_head",
        ("self[index].alarm <= due", "true"),
        &[NAIVE_WINDOW],
    ),
    mutation(
        PROMISES,
        "the head is told without need",
        LINE,
        "fn rouse_head",
        ("self[index].alarm <= due", "false"),
        &["c5_where_all_goes_as_expected_the_window_wakes_once_per_admission"],
    ),
    mutation(
        PROMISES,
        "a stride is twice as long",
        WINDOW,
        "const fn mask",
        ("next_power_of_two() - 1", "next_power_of_two() * 2 - 1"),
        &["w8_strides_never_let_too_many_through"],
    ),
    mutation(
        PROMISES,
        "an open stride is never closed, seen from outside",
        WINDOW,
        "fn refill",
        ("if held.open > 0 && held.spare", "if false && held.open > 0 && held.spare"),
        &["w8_a_stride_that_stays_open_comes_back"],
    ),
    mutation(
        EDGES,
        "a rejection says zero seconds",
        "src/rejected.rs",
        "fn retry_after_secs",
        (".max(1)", ""),
        &["w6_any_wait_is_rounded_up_and_never_zero"],
    ),
    mutation(
        PROMISES,
        "a rejection is rounded down",
        "src/rejected.rs",
        "fn retry_after_secs",
        ("wait.subsec_nanos() > 0", "false"),
        &["w6_as_a_header_it_is_rounded_up_and_never_zero"],
    ),
    // Retries.
    mutation(
        PROMISES,
        "one attempt more than the most",
        POLICY,
        "fn decide",
        ("attempt >= settings.max_attempts", "attempt > settings.max_attempts"),
        &["r2_max_attempts_counts_the_first_and_the_last_error_arrives"],
    ),
    mutation(
        PROMISES,
        "a wait may end too late",
        POLICY,
        "fn ends_too_late",
        ("elapsed.saturating_add(wait) > max", "elapsed > max"),
        &["r2_never_sleeps_past_max_elapsed"],
    ),
    mutation(
        PROMISES,
        "a hint may be as long as it likes",
        POLICY,
        "fn decide",
        ("hint.is_some_and(|hint| hint > settings.max_hint)", "false"),
        &["r4_gives_up_at_once_where_the_hint_is_too_long_or_says_never"],
    ),
    mutation(
        PROMISES,
        "a server that says never is asked again",
        POLICY,
        "fn decide",
        ("if verdict == Verdict::Never {", "if false {"),
        &["r4_gives_up_at_once_where_the_hint_is_too_long_or_says_never"],
    ),
    mutation(
        PROMISES,
        "the budget is asked for every attempt that is not made",
        POLICY,
        "fn decide",
        (
            "if self.ends_too_late(wait) {",
            "if settings.budget.as_ref().is_some_and(|budget| !budget.withdraw()) {
                Err(GiveUp::BudgetSpent)
            } else if self.ends_too_late(wait) {",
        ),
        &["r5_the_budget_is_shared_and_exact"],
    ),
    mutation(
        PROMISES,
        "retries pay in, too",
        POLICY,
        "fn clone_request",
        ("if self.session.retries == 0 {", "{"),
        &["r5_the_budget_is_shared_and_exact"],
    ),
    mutation(
        PROMISES,
        "all draw alike",
        POLICY,
        "fn draw",
        ("fetch_add(0x9E37_79B9_7F4A_7C15, Relaxed)", "load(Relaxed)"),
        &["r3_requests_draw_independently_and_a_seed_repeats_them"],
    ),
    mutation(
        EDGES,
        "what is paid in is cut off, not rounded",
        BUDGET,
        "fn try_new",
        ("(ratio * RETRY as f64).round() as u64", "(ratio * RETRY as f64) as u64"),
        &["r5_every_thousandth_is_exact"],
    ),
    mutation(
        PROMISES,
        "the floor gives a little too much",
        BUDGET,
        "fn per_second",
        ("div_ceil(retries.into())", "wrapping_div(retries.into())"),
        &["r5_the_budget_is_as_the_naive_one"],
    ),
    mutation(
        PROMISES,
        "a hint is no floor",
        BACKOFF,
        "fn wait",
        ("hint.map_or(low, |hint| nanos(hint).max(low))", "low"),
        &["r4_a_hint_is_a_floor_with_jitter_on_top"],
    ),
    // Numbers at their edges.
    mutation(
        EDGES,
        "times wrap",
        "src/clock.rs",
        "fn after",
        ("self.0.saturating_add(nanos(wait))", "self.0.wrapping_add(nanos(wait))"),
        &[
            "c8_times_saturate_and_never_wrap",
            "w1_windows_are_exact_from_a_nanosecond_to_a_century",
        ],
    ),
    mutation(
        EDGES,
        "a timer goes off at once",
        "src/clock.rs",
        "fn alarm",
        ("self.origin.checked_add(at.since(Nanos::ZERO))", "self.origin.checked_add(at.since(at))"),
        &["c8_a_timer_can_be_set_for_any_time"],
    ),
    mutation(
        EDGES,
        "one place more than there may be",
        "src/settings.rs",
        "fn places",
        ("places @ 1..=MAX_PLACES", "places @ 1..=0x8000_0000"),
        &["c7_every_number_is_right_or_refused"],
    ),
    mutation(
        EDGES,
        "a window of nothing",
        "src/settings.rs",
        "fn window",
        ("value.is_zero() || ", ""),
        &["c7_every_number_is_right_or_refused"],
    ),
    mutation(
        EDGES,
        "more may wait than the word counts",
        "src/settings.rs",
        "fn waiting",
        (".min(MAX_WAITING)", ""),
        &["c7_every_number_is_right_or_refused"],
    ),
    mutation(
        EDGES,
        "limits are counted in 31 bits",
        GATE,
        "fn set_limit",
        ("(delta as u64).wrapping_mul(PLACE)", "(delta as u64 & 0x3fff_ffff).wrapping_mul(PLACE)"),
        &["b6_limits_of_any_size_follow_one_another", "w9_settings_of_any_size_follow_one_another"],
    ),
    mutation(
        EDGES,
        "the last moment of a window is left out",
        WINDOW,
        "fn refill",
        ("self.due(time) <= moment", "self.due(time) < moment"),
        &["w1_windows_are_exact_from_a_nanosecond_to_a_century"],
    ),
    mutation(
        EDGES,
        "jitter may draw nothing",
        BACKOFF,
        "fn wait",
        ("Jitter::Full => (1, ceiling)", "Jitter::Full => (0, ceiling)"),
        &["r3_no_wait_is_zero_too_long_or_below_the_hint"],
    ),
    mutation(
        EDGES,
        "waits have no most",
        BACKOFF,
        "fn ceiling",
        (".clamp(self.base, self.max)", ".max(self.base)"),
        &["r3_the_ceiling_grows_from_base_to_max", "r3_no_wait_is_zero_too_long_or_below_the_hint"],
    ),
    mutation(
        EDGES,
        "waits are counted in floating point",
        BACKOFF,
        "fn ceiling",
        (
            "Duration::from_nanos(base.saturating_mul(whole).saturating_add(part))",
            "Duration::try_from_secs_f64(self.base.as_secs_f64() * scale + part as f64 * 0.0 + whole as f64 * 0.0).unwrap_or(self.max)",
        ),
        &["r3_the_ceiling_is_base_times_a_power_of_two"],
    ),
    mutation(
        EDGES,
        "savings are bounded in 32 bits",
        BUDGET,
        "fn max_saved",
        ("u64::from(retries) * RETRY", "u64::from(retries.wrapping_mul(RETRY as u32))"),
        &["r5_savings_are_exact_at_the_edges"],
    ),
    mutation(
        EDGES,
        "the floor has one more",
        BUDGET,
        "fn per_second",
        ("ahead: step * retries", "ahead: step * (retries + 1)"),
        &["r5_a_floor_gives_what_it_says"],
    ),
    mutation(
        EDGES,
        "no ratio is refused",
        BUDGET,
        "fn try_new",
        ("!(0.0..=1000.0).contains(&ratio)", "ratio < 0.0"),
        &["c7_every_ratio_is_right_or_refused"],
    ),
    mutation(
        EDGES,
        "who may wait for ever waits not at all",
        "src/seat.rs",
        "fn deadline",
        (
            "self.max_wait.map_or(Nanos::NEVER, |wait| now().after(wait))",
            "self.max_wait.map_or(Nanos::NEVER, |wait| Nanos::new(now().get().wrapping_add(wait.as_nanos() as u64)))",
        ),
        &["b3_one_may_wait_for_any_time", "w7_a_pause_may_be_of_any_length"],
    ),
    mutation(
        EDGES,
        "a hint that is too long is followed",
        POLICY,
        "fn decide",
        ("hint.is_some_and(|hint| hint > settings.max_hint)", "false"),
        &["r4_a_hint_may_be_of_any_length"],
    ),
    // What a caller sees.
    mutation(
        PROMISES,
        "who looks fills the log",
        LOG,
        "fn held",
        ("spare: used < self.slots.len().div_ceil(2)", "spare: used <= self.slots.len()"),
        &["w3_who_looks_all_the_time_delays_nobody"],
    ),
    mutation(
        PROMISES,
        "an entry of the line is used once",
        LINE,
        "fn join",
        ("self.vacant == NONE", "self.vacant == NONE || waiter.next == NONE"),
        &["c6_waiting_allocates_nothing_once_the_line_has_been_as_long"],
    ),
    mutation(
        PROMISES,
        "an admitted call makes a box",
        SEAT,
        "fn poll(",
        (
            "State::Idle if self.limiter.try_enter()",
            "State::Idle if *Box::new(true) && self.limiter.try_enter()",
        ),
        &["c6_a_call_that_does_not_wait_allocates_nothing"],
    ),
    mutation(
        PROMISES,
        "a timer stays where it was made",
        SEAT,
        "fn poll_wait",
        (
            "let mut alarm = self.limiter.clock().alarm(again);",
            "let mut alarm = match &mut self.state {
                State::Waiting(_, Some(_)) => return Poll::Pending,
                _ => self.limiter.clock().alarm(again),
            };",
        ),
        &["c2_a_waiter_moves_to_another_runtime"],
    ),
    mutation(
        PROMISES,
        "a ticket is lost if there can be no timer",
        SEAT,
        "Arrival::Waiting(waiting, again)",
        (
            "self.state = State::Waiting(waiting, None);",
            "let alarm = self.limiter.clock().alarm(again);
                        self.state = State::Waiting(waiting, Some(alarm));",
        ),
        &["c2_who_waits_for_a_time_without_a_runtime_is_told_so_and_loses_nothing"],
    ),
    mutation(
        PROMISES,
        "those behind look only if they are told",
        RATE_LIMIT,
        "fn arrive",
        ("Ok(expected)", "Ok(if waiting > 0 { Nanos::NEVER } else { expected })"),
        &["b5_a_head_that_is_never_polled_again_holds_up_nobody"],
    ),
    mutation(
        PROMISES,
        "who is called has no place",
        GATE,
        "fn next_to_wake",
        ("PLACE + WAITER", "WAITER"),
        &[
            "b5_a_called_task_that_is_not_polled_costs_one_place",
            "b1_never_more_than_max_in_flight",
        ],
    ),
    mutation(
        PROMISES,
        "what is behind an error is not looked at",
        CAUSE,
        "fn caused_by",
        ("error.source()", "None.or_else(|| error.source().filter(|_| false))"),
        &["c10_a_rejection_is_found_behind_wrappers", "r6_errors_are_found_down_the_chain"],
    ),
    mutation(
        PROMISES,
        "an io::Error is not opened",
        CAUSE,
        "fn caused_by",
        (".or_else(inside)", ".or_else(|| inside().filter(|_| false))"),
        &["c10_a_rejection_is_found_behind_wrappers"],
    ),
    mutation(
        PROMISES,
        "a full line is told as a long wait",
        "src/rejected.rs",
        "fn is_queue_full",
        ("Reason::QueueFull", "Reason::WaitTimeout"),
        &[
            "c10_a_rejection_is_an_error_an_own_error_or_a_response",
            "b3_a_line_of_none_sheds_at_once",
        ],
    ),
    mutation(
        PROMISES,
        "nothing is retried",
        POLICY,
        "fn retry(",
        ("decision.next.ok()", "decision.next.ok().filter(|_| false)"),
        &["r1_it_is_a_policy_for_towers_own_layer", "r6_a_rejection_can_be_retried_after_its_time"],
    ),
    mutation(
        PROMISES,
        "what cannot be cloned pays nothing in",
        POLICY,
        "fn clone_request",
        (
            "if self.session.retries == 0 {",
            "if self.session.retries == 0 && self.settings.clone_with.clone_request(request).is_some() {",
        ),
        &["r7_what_cannot_be_cloned_is_sent_once_and_its_answer_passes"],
    ),
    mutation(
        PROMISES,
        "the hook hears of retries only",
        POLICY,
        "fn report",
        (
            "if let Some(hook) = &self.settings.hook {",
            "if let Some(hook) = self.settings.hook.as_ref().filter(|_| decision.next.is_ok()) {",
        ),
        &["r8_the_hook_sees_every_decision", "r8_the_hook_hears_of_a_spent_budget"],
    ),
    mutation(
        PROMISES,
        "an answer says how many retries it took",
        POLICY,
        "fn retry(",
        ("self.session.retries.saturating_add(1)", "self.session.retries"),
        &["r8_the_caller_learns_how_many_attempts_an_answer_took"],
    ),
    mutation(
        PROMISES,
        "a hint pauses nobody",
        POLICY,
        "fn report",
        ("handle.pause_for(hint);", "let _ = (handle, hint);"),
        &["r9_a_hint_pauses_all_callers"],
    ),
    mutation(
        PROMISES,
        "an absurd hint pauses everybody",
        POLICY,
        "fn report",
        ("hint <= self.settings.max_hint", "hint <= hint.max(self.settings.max_hint)"),
        &["r9_a_hint_pauses_all_callers"],
    ),
];
