//! The name of a test, for the line that it prints.

use std::any::type_name;

/// Returns the name of the test around this closure.
pub(crate) fn name_of<T>(_: &T) -> &'static str {
    let name = type_name::<T>().trim_end_matches("::{{closure}}");
    name.rsplit("::").next().unwrap_or(name)
}
