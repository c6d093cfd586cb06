//! What others say, as it may stand in a log line.

/// An error and its sources by their `Display`, which none of the SDK's errors fills with a body.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = String::new();
    let mut next = Some(error);
    while let Some(error) = next {
        let part = error.to_string();
        if !part.is_empty() && !text.contains(&part) {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&part);
        }
        next = error.source();
    }
    plain(&text, 1000)
}

/// A foreign text for a log line: one line, no control characters, not long.
pub fn plain(text: &str, limit: usize) -> String {
    let mut out: String =
        text.trim().chars().map(|c| if c.is_control() { ' ' } else { c }).take(limit.saturating_add(1)).collect();
    if out.chars().count() > limit {
        out.pop();
        out.push('…');
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_foreign_text_stays_one_short_line() {
        assert_eq!(plain("a\nb\u{1b}[31m ", 100), "a b [31m");
        assert_eq!(plain("abcdef", 3), "abc…");
    }
}
