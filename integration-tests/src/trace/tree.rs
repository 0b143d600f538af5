use std::collections::HashMap;

use super::Span;

/// A trace as lines of a tree, each with the service, what it did, when and for how long.
#[must_use]
pub fn tree(spans: &[Span]) -> Vec<String> {
    let known: HashMap<&str, &Span> = spans
        .iter()
        .map(|span| (span.span_id.as_str(), span))
        .collect();
    let begin = spans
        .iter()
        .map(|span| span.start_unix_nanos)
        .min()
        .unwrap_or(0);
    let mut lines = Vec::new();
    let roots = children(spans, |span| {
        !known.contains_key(span.parent_span_id.as_str())
    });
    for root in roots {
        draw(spans, root, begin, "", "", &mut lines);
    }
    lines
}

fn children(spans: &[Span], wanted: impl Fn(&Span) -> bool) -> Vec<&Span> {
    let mut chosen: Vec<&Span> = spans.iter().filter(|span| wanted(span)).collect();
    chosen.sort_by_key(|span| span.start_unix_nanos);
    chosen
}

fn draw(spans: &[Span], span: &Span, begin: u64, first: &str, rest: &str, lines: &mut Vec<String>) {
    let after = std::time::Duration::from_nanos(span.start_unix_nanos.saturating_sub(begin));
    let error = if span.error { "  ERROR" } else { "" };
    lines.push(format!(
        "{first}{:<18} {}  [{}] +{:.1} ms, {:.1} ms{error}",
        span.service,
        span.name,
        span.kind,
        after.as_secs_f64() * 1e3,
        span.millis(),
    ));
    let below = children(spans, |child| child.parent_span_id == span.span_id);
    for (at, child) in below.iter().enumerate() {
        let last = at + 1 == below.len();
        let (branch, stem) = if last {
            ("└─ ", "   ")
        } else {
            ("├─ ", "│  ")
        };
        draw(
            spans,
            child,
            begin,
            &format!("{rest}{branch}"),
            &format!("{rest}{stem}"),
            lines,
        );
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn span(id: &str, parent: &str, service: &str, start: u64) -> Span {
        Span {
            trace_id: "t".to_owned(),
            span_id: id.to_owned(),
            parent_span_id: parent.to_owned(),
            service: service.to_owned(),
            name: "does".to_owned(),
            kind: "server".to_owned(),
            start_unix_nanos: start,
            end_unix_nanos: start + 2_000_000,
            error: false,
            attributes: BTreeMap::new(),
            events: Vec::new(),
        }
    }

    #[test]
    fn children_hang_under_their_parents_in_order() {
        let spans = [
            span("c", "a", "billing", 3_000_000),
            span("a", "gone", "edge", 0),
            span("b", "a", "identity", 1_000_000),
            span("d", "b", "privacy", 2_000_000),
        ];
        let lines = tree(&spans);
        let shape: Vec<&str> = lines
            .iter()
            .map(|line| line.split("  ").next().unwrap())
            .collect();
        assert_eq!(shape, ["edge", "├─ identity", "│", "└─ billing"]);
        assert!(lines[2].contains("└─ privacy") && lines[2].contains("+2.0 ms, 2.0 ms"));
    }
}
