use std::{collections::HashMap, sync::Arc};

use prost::Message;
use prost_reflect::{DescriptorError, DescriptorPool, DynamicMessage};

use crate::{Caller, Reason, Rule, Subject};

/// The rule of every method of the contracts, by path.
#[derive(Debug, Default)]
pub struct Rules {
    by_path: HashMap<Box<str>, Arc<Rule>>,
}

/// The rules cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
    /// The bytes are not a set of descriptors.
    #[error("the descriptors are not valid")]
    Descriptors(#[from] DescriptorError),
    /// The descriptors do not define the option.
    #[error("the descriptors do not define {OPTION}")]
    NoOption,
    /// A rule is not of this shape.
    #[error("the rule of {0} is not valid")]
    Rule(String),
}

const OPTION: &str = "wanwu.access.v1.rule";

/// The services that every peer may ask without a rule: they tell nothing that is not public.
pub const OPEN_SERVICES: [&str; 3] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
];

/// The method is of a service that needs no rule.
#[must_use]
pub fn is_open(path: &str) -> bool {
    let service = path.strip_prefix('/').and_then(|path| path.split_once('/'));
    service.is_some_and(|(service, _)| OPEN_SERVICES.contains(&service))
}

impl Rules {
    /// Reads the rules from an encoded `FileDescriptorSet` whose options are whole.
    pub fn from_descriptors(bytes: &[u8]) -> Result<Self, RulesError> {
        let pool = DescriptorPool::decode(bytes)?;
        let option = pool
            .get_extension_by_name(OPTION)
            .ok_or(RulesError::NoOption)?;
        let mut by_path = HashMap::new();
        for service in pool.services() {
            for method in service.methods() {
                let options = method.options();
                if !options.has_extension(&option) {
                    continue;
                }
                let path = format!("/{}/{}", service.full_name(), method.name());
                let value = options.get_extension(&option);
                let rule = value.as_message().and_then(read);
                let rule = rule.ok_or_else(|| RulesError::Rule(path.clone()))?;
                by_path.insert(path.into_boxed_str(), Arc::new(rule));
            }
        }
        Ok(Self { by_path })
    }

    /// The rule of a method (`/package.Service/Method`).
    #[must_use]
    pub fn rule(&self, path: &str) -> Option<&Arc<Rule>> {
        self.by_path.get(path)
    }

    /// Whether a caller of this kind may call the method from where it is. What is left to ask,
    /// for accounts and app keys, is whether the account passes `rule.gates`: see [`crate::gate`].
    pub fn admit(&self, path: &str, caller: &Caller) -> Result<&Arc<Rule>, Reason> {
        let rule = self.rule(path).ok_or(Reason::UnknownMethod)?;
        admit(rule, caller).map(|()| rule)
    }
}

fn read(value: &DynamicMessage) -> Option<Rule> {
    Rule::decode(value.encode_to_vec().as_slice()).ok()
}

fn admit(rule: &Rule, caller: &Caller) -> Result<(), Reason> {
    if !caller.mainland && !rule.any_network {
        return Err(Reason::NetworkNotAllowed);
    }
    let admitted = match &caller.subject {
        Subject::Service(name) => rule.services.iter().any(|service| **service == **name),
        _ if rule.anonymous => true,
        Subject::Nobody => return Err(Reason::Unauthenticated),
        Subject::Account { .. } => rule.account,
        Subject::AppKey { scopes, .. } => {
            let lacks = !rule.scope.is_empty() && !scopes.contains(&rule.scope);
            if rule.app_key && lacks {
                return Err(Reason::ScopeMissing);
            }
            rule.app_key
        }
        Subject::Operator { roles, .. } => roles
            .iter()
            .any(|&role| rule.operator_roles.contains(&i32::from(role))),
    };
    if admitted {
        Ok(())
    } else {
        Err(Reason::NotAllowed)
    }
}
