//! Which service consumes which event: from the option in the contract.

use std::{collections::HashMap, sync::LazyLock};

use prost_reflect::{DescriptorPool, MessageDescriptor, Value};

/// Consumers by the full name of the event.
static CONSUMERS: LazyLock<HashMap<String, Vec<String>>> = LazyLock::new(|| {
    let pool = DescriptorPool::decode(wanwu_proto::DESCRIPTORS)
        .expect("our own descriptors are well-formed");
    let option = pool
        .get_extension_by_name("wanwu.events.v1.event")
        .expect("the contract defines the option");
    pool.all_messages()
        .filter(|message| message.options().has_extension(&option))
        .map(|message| {
            let value = message.options().get_extension(&option).into_owned();
            (message.full_name().to_owned(), names(&message, &value))
        })
        .collect()
});

/// The services that consume the event with this full name; `None`: it is not an event.
#[must_use]
pub fn consumers_of(event: &str) -> Option<&'static [String]> {
    CONSUMERS.get(event).map(Vec::as_slice)
}

/// The full names of the events that `service` consumes.
pub(crate) fn consumed_by(service: &str) -> Vec<&'static str> {
    let consumed = CONSUMERS
        .iter()
        .filter(|(_, consumers)| consumers.iter().any(|c| c == service));
    consumed.map(|(event, _)| event.as_str()).collect()
}

/// The name of the queue from which `consumer` takes `event`.
#[must_use]
pub fn queue(consumer: &str, event: &str) -> String {
    format!("{consumer}.{}", event.to_lowercase())
}

fn names(message: &MessageDescriptor, option: &Value) -> Vec<String> {
    let event = option.as_message().expect("the option is a message");
    let consumers = event
        .get_field_by_name("consumers")
        .expect("the option names consumers");
    let consumers = consumers.as_list().expect("consumers is repeated");
    let names = consumers.iter().map(|name| {
        name.as_str()
            .unwrap_or_else(|| panic!("{}: a consumer is text", message.full_name()))
    });
    names.map(str::to_owned).collect()
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
