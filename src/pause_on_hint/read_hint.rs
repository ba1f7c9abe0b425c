use std::time::Duration;

/// Reads from a response for how long the server wants no requests.
///
/// Implemented by any `Fn(&Result<Res, E>) -> Option<Duration>` with an annotated argument.
#[diagnostic::on_unimplemented(
    message = "`{Self}` reads no hint from a `Result<{Res}, {E}>`",
    label = "can't read hints of these",
    note = "`client::HttpHints` and `client::GrpcHints` are for responses of the `http` crate; with \
            the feature `reqwest` the former is for reqwest's too"
)]
pub trait ReadHint<Res, E> {
    /// Returns the time, counted from now, or `None` without a hint.
    fn read_hint(&self, result: &Result<Res, E>) -> Option<Duration>;
}

#[diagnostic::do_not_recommend]
impl<F, Res, E> ReadHint<Res, E> for F
where
    F: Fn(&Result<Res, E>) -> Option<Duration>,
{
    fn read_hint(&self, result: &Result<Res, E>) -> Option<Duration> {
        self(result)
    }
}
