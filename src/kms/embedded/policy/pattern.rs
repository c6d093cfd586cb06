//! Patterns of policies: `*` stands for any characters or none, `?` for one.

/// Whether the whole text fits the pattern.
pub(super) fn fits(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<_>, Vec<_>) = (pattern.chars().collect(), text.chars().collect());
    let (mut at, mut read) = (0, 0);
    // The last star, and how far the text was read there: where it goes on if all else fails.
    let mut star = None;
    while read < text.len() {
        match pattern.get(at) {
            Some('*') => {
                star = Some((at, read));
                at += 1;
            }
            Some('?') => (at, read) = (at + 1, read + 1),
            Some(same) if *same == text[read] => (at, read) = (at + 1, read + 1),
            _ => {
                let Some((place, taken)) = star else { return false };
                star = Some((place, taken + 1));
                (at, read) = (place + 1, taken + 1);
            }
        }
    }
    pattern[at..].iter().all(|rest| *rest == '*')
}

/// Whether an ARN fits the pattern of one, each of its six parts by itself.
pub(super) fn arn_fits(pattern: &str, arn: &str) -> bool {
    let (patterns, parts) = (pattern.splitn(6, ':'), arn.splitn(6, ':'));
    patterns.clone().count() == parts.clone().count() && patterns.zip(parts).all(|(pattern, part)| fits(pattern, part))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stars_take_as_much_as_is_needed() {
        for (pattern, text, expected) in [
            ("", "", true),
            ("*", "", true),
            ("*", "anything", true),
            ("kms:*", "kms:Decrypt", true),
            ("kms:GenerateDataKey*", "kms:GenerateDataKeyPair", true),
            ("kms:GenerateDataKey", "kms:GenerateDataKeyPair", false),
            ("a*b*c", "a--b--b-c", true),
            ("a*b*c", "a--b--b-", false),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("*sign", "decrypt,sign", true),
            ("**x", "x", true),
            ("?", "é", true),
        ] {
            assert_eq!(fits(pattern, text), expected, "{pattern} {text}");
        }
    }

    #[test]
    fn no_star_reaches_into_another_part_of_an_arn() {
        let role = "arn:aws:iam::111122223333:role/web";
        assert!(arn_fits("arn:aws:iam::111122223333:role/*", role) && arn_fits("arn:*:iam::*:role/w?b", role));
        assert!(!arn_fits("arn:*:role/web", role) && !arn_fits("*", role));
        assert!(fits("arn:*:role/web", role));
    }
}
