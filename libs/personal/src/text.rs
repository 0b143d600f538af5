use std::ops::RangeInclusive;

/// The text without white space around it, when it has so many characters and no control characters.
pub(crate) fn plain(text: &str, length: RangeInclusive<usize>) -> Option<String> {
    let text = text.trim();
    // No character has more than four bytes.
    let sound = text.len() <= 4 * length.end()
        && length.contains(&text.chars().count())
        && !text.chars().any(char::is_control);
    sound.then(|| text.to_owned())
}
