use std::time::Duration;

/// Reads off an answer for how long the server wants no requests.
///
/// Any `Fn(&Result<Res, E>) -> Option<Duration>` whose argument is annotated is one.
#[diagnostic::on_unimplemented(
    message = "`{Self}` reads no hint off a `Result<{Res}, {E}>`",
    label = "can't read hints of these",
    note = "`client::HttpHints` and `client::GrpcHints` are for responses of the `http` crate, the former with the feature \
            `reqwest` for reqwest's, too"
)]
pub trait ReadHint<Res, E> {
    /// How long, counted from now; `None` if it doesn't say so.
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
