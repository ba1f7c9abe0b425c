use std::time::Duration;

/// Reads off an answer how long the server wants to hear from nobody.
///
/// Any `Fn(&Result<Res, E>) -> Option<Duration>` whose argument is annotated is one.
pub trait ServerHint<Res, E> {
    /// How long, counted from now; `None` if it doesn't say so.
    fn hint(&self, result: &Result<Res, E>) -> Option<Duration>;
}

impl<F, Res, E> ServerHint<Res, E> for F
where
    F: Fn(&Result<Res, E>) -> Option<Duration>,
{
    fn hint(&self, result: &Result<Res, E>) -> Option<Duration> {
        self(result)
    }
}
