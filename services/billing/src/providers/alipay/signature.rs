use std::collections::BTreeMap;

/// What is signed of parameters: `k=v` by name, joined with `&`. Empty values do not count in
/// requests (`keep_empty` false) and do in notices, where they are part of what came.
#[must_use]
pub fn content(parameters: &BTreeMap<String, String>, keep_empty: bool) -> String {
    let pairs: Vec<String> = parameters
        .iter()
        .filter(|(_, value)| keep_empty || !value.is_empty())
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    pairs.join("&")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_signed_sorted_by_name() {
        let pairs = [("b", "2"), ("a", "1"), ("empty", ""), ("B", "3")];
        let parameters = pairs.map(|(name, value)| (name.to_owned(), value.to_owned()));
        let parameters = parameters.into();
        assert_eq!(content(&parameters, false), "B=3&a=1&b=2");
        assert_eq!(content(&parameters, true), "B=3&a=1&b=2&empty=");
    }
}
