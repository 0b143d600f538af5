//! Which service consumes which event: from the option in the contract.

use wanwu_proto::EVENTS;

/// The services that consume the event with this full name; `None`: it is not an event.
#[must_use]
pub fn consumers_of(event: &str) -> Option<&'static [&'static str]> {
    let found = EVENTS.iter().find(|one| one.name == event);
    found.map(|event| event.consumers)
}

/// The full names of the events that `service` consumes.
pub(crate) fn consumed_by(service: &str) -> Vec<&'static str> {
    let consumed = EVENTS
        .iter()
        .filter(|event| event.consumers.contains(&service));
    consumed.map(|event| event.name).collect()
}

/// The name of the queue from which `consumer` takes `event`.
#[must_use]
pub fn queue(consumer: &str, event: &str) -> String {
    format!("{consumer}.{}", event.to_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_names_the_consumers() {
        let usage = "wanwu.inference.v1.UsageRecorded";
        assert_eq!(consumers_of(usage).unwrap(), ["billing"]);
        assert_eq!(
            queue("billing", usage),
            "billing.wanwu.inference.v1.usagerecorded"
        );
        assert!(
            consumers_of("wanwu.billing.v1.OrderPaid")
                .unwrap()
                .is_empty()
        );
        assert_eq!(consumers_of("wanwu.access.v1.Principal"), None);
        assert!(consumed_by("billing").contains(&usage));
        assert!(consumed_by("edge").is_empty());
    }
}
