//! Text of requests in labels.

/// The most characters of a label.
const LONGEST: usize = 100;

/// Returns the text, which a client may have written, cut to a bounded length.
pub(super) fn shown(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
