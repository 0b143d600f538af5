use http::{HeaderMap, HeaderName, HeaderValue};
use opentelemetry::propagation::{Extractor, Injector};

const TRACEPARENT: HeaderName = HeaderName::from_static("traceparent");

/// Reads trace context from headers.
pub(crate) struct FromHeaders<'a>(pub(crate) &'a HeaderMap);

/// Writes trace context to headers.
pub(crate) struct ToHeaders<'a>(pub(crate) &'a mut HeaderMap);

impl Extractor for FromHeaders<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        self.0.get(key).and_then(|value| value.to_str().ok())
    }

    fn keys(&self) -> Vec<&str> {
        self.0.keys().map(HeaderName::as_str).collect()
    }
}

impl Injector for ToHeaders<'_> {
    fn set(&mut self, key: &str, value: String) {
        // A trace without a state need not say so.
        if value.is_empty() {
            return;
        }
        let name = match key {
            "traceparent" => Ok(TRACEPARENT),
            key => HeaderName::from_bytes(key.as_bytes()),
        };
        if let (Ok(name), Ok(value)) = (name, HeaderValue::try_from(value)) {
            self.0.insert(name, value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_empty_is_not_sent() {
        let mut headers = HeaderMap::new();
        let mut carrier = ToHeaders(&mut headers);
        carrier.set("traceparent", "parent".to_owned());
        carrier.set("tracestate", String::new());
        carrier.set("baggage", "a=b".to_owned());
        assert_eq!(headers.len(), 2);
        assert_eq!(headers["traceparent"], "parent");
        assert_eq!(headers["baggage"], "a=b");
    }
}
