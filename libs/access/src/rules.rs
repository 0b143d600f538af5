use std::{collections::HashMap, sync::Arc};

use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage};

use crate::{Caller, Reason, Rule, Subject};

/// The rule of every method of the contracts, by path.
#[derive(Debug, Default)]
pub struct Rules {
    by_path: HashMap<Box<str>, Arc<Rule>>,
}

/// The rules cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum RulesError {
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
    /// The rules of the contracts that this build knows.
    pub fn of_contracts() -> Result<Self, RulesError> {
        let with_rule = wanwu_proto::METHODS
            .iter()
            .filter_map(|method| Some((method.path, method.rule?)));
        let by_path = with_rule.map(|(path, rule)| match Rule::decode(rule) {
            Ok(rule) => Ok((path.into(), Arc::new(rule))),
            Err(_) => Err(RulesError::Rule(path.to_owned())),
        });
        Ok(Self {
            by_path: by_path.collect::<Result<_, _>>()?,
        })
    }

    /// Reads the rules from descriptors that were decoded with their options.
    pub fn from_pool(pool: &DescriptorPool) -> Result<Self, RulesError> {
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

#[cfg(test)]
mod tests {
    use prost_reflect::DescriptorPool;
    use wanwu_ids::Ids;
    use wanwu_proto::DESCRIPTORS;

    use super::*;
    use crate::OperatorRole;

    fn subjects() -> [(&'static str, Subject); 7] {
        let ids = Ids::system();
        let key = |scopes: &[&str]| Subject::AppKey {
            account_id: ids.id(),
            app_id: ids.id(),
            key_id: ids.id(),
            scopes: scopes.iter().map(|&scope| scope.to_owned()).collect(),
        };
        let operator = |role| Subject::Operator {
            operator_id: ids.id(),
            session_id: ids.id(),
            roles: vec![role],
        };
        [
            ("nobody", Subject::Nobody),
            (
                "account",
                Subject::Account {
                    account_id: ids.id(),
                    session_id: ids.id(),
                },
            ),
            ("key", key(&["chat"])),
            ("key without the scope", key(&["speech"])),
            ("finance", operator(OperatorRole::Finance)),
            ("support", operator(OperatorRole::Support)),
            ("service", Subject::Service("billing".into())),
        ]
    }

    fn caller(subject: Subject) -> Caller {
        Caller {
            subject,
            request_id: String::new(),
            mainland: true,
            address_key: String::new(),
        }
    }

    #[test]
    fn a_rule_admits_the_kinds_that_it_names() {
        use Reason::{NotAllowed, ScopeMissing, Unauthenticated};
        let no = Err(NotAllowed);
        type Case = (&'static str, Rule, [Result<(), Reason>; 7]);
        let rules: [Case; 6] = [
            (
                "empty",
                Rule::default(),
                [Err(Unauthenticated), no, no, no, no, no, no],
            ),
            (
                "anonymous",
                Rule {
                    anonymous: true,
                    ..Rule::default()
                },
                [Ok(()), Ok(()), Ok(()), Ok(()), Ok(()), Ok(()), no],
            ),
            (
                "account",
                Rule {
                    account: true,
                    ..Rule::default()
                },
                [Err(Unauthenticated), Ok(()), no, no, no, no, no],
            ),
            (
                "app_key",
                Rule {
                    app_key: true,
                    scope: "chat".to_owned(),
                    ..Rule::default()
                },
                [
                    Err(Unauthenticated),
                    no,
                    Ok(()),
                    Err(ScopeMissing),
                    no,
                    no,
                    no,
                ],
            ),
            (
                "operator",
                Rule {
                    operator_roles: vec![OperatorRole::Finance.into()],
                    ..Rule::default()
                },
                [Err(Unauthenticated), no, no, no, Ok(()), no, no],
            ),
            (
                "service",
                Rule {
                    services: vec!["billing".to_owned()],
                    ..Rule::default()
                },
                [Err(Unauthenticated), no, no, no, no, no, Ok(())],
            ),
        ];
        for (name, rule, expected) in rules {
            for ((kind, subject), expected) in subjects().into_iter().zip(expected) {
                assert_eq!(
                    admit(&rule, &caller(subject)),
                    expected,
                    "{kind} calls {name}"
                );
            }
        }
    }

    #[test]
    fn another_service_is_not_the_named_one() {
        let rule = Rule {
            services: vec!["identity".to_owned()],
            ..Rule::default()
        };
        let caller = caller(Subject::Service("identity2".into()));
        assert_eq!(admit(&rule, &caller), Err(Reason::NotAllowed));
    }

    #[test]
    fn a_foreign_network_is_refused_before_anything_else_is_told() {
        for (_, subject) in subjects() {
            let abroad = Caller {
                mainland: false,
                ..caller(subject)
            };
            let rule = Rule {
                anonymous: true,
                ..Rule::default()
            };
            assert_eq!(admit(&rule, &abroad), Err(Reason::NetworkNotAllowed));
        }
        let abroad = Caller {
            mainland: false,
            ..caller(Subject::Nobody)
        };
        let rule = Rule {
            anonymous: true,
            any_network: true,
            ..Rule::default()
        };
        assert_eq!(admit(&rule, &abroad), Ok(()));
    }

    #[test]
    fn every_method_of_the_contracts_has_a_rule_that_admits_somebody() {
        let rules = Rules::of_contracts().unwrap();
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        let mut methods = 0;
        for service in pool.services() {
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let rule = rules
                    .rule(&path)
                    .unwrap_or_else(|| panic!("{path} has no rule"));
                let admits = rule.anonymous
                    || rule.account
                    || rule.app_key
                    || !rule.operator_roles.is_empty()
                    || !rule.services.is_empty();
                assert!(admits, "{path} admits nobody");
                assert!(
                    rule.scope.is_empty() || rule.app_key,
                    "{path} has a scope and no keys"
                );
                let gated = rule.account || rule.app_key || rule.gates.is_empty();
                assert!(gated, "{path} has gates that nobody passes");
                methods += 1;
            }
        }
        assert!(methods > 30, "{methods}");
    }

    #[test]
    fn the_rules_of_the_build_are_those_of_its_descriptors() {
        let built = Rules::of_contracts().unwrap();
        let pool = DescriptorPool::decode(DESCRIPTORS).unwrap();
        assert_eq!(built.by_path, Rules::from_pool(&pool).unwrap().by_path);
    }

    #[test]
    fn a_method_without_a_rule_is_refused() {
        let rules = Rules::of_contracts().unwrap();
        for path in [
            "/wanwu.identity.v1.StandingService/Forget",
            "/",
            "",
            "/a/b/c",
        ] {
            let refused = rules.admit(path, &caller(Subject::Service("edge".into())));
            assert_eq!(refused.unwrap_err(), Reason::UnknownMethod, "{path}");
        }
    }

    #[test]
    fn only_health_and_reflection_are_open() {
        assert!(is_open("/grpc.health.v1.Health/Check"));
        assert!(is_open(
            "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"
        ));
        for path in [
            "/grpc.health.v1.HealthX/Check",
            "/wanwu.identity.v1.StandingService/GetStanding",
            "",
        ] {
            assert!(!is_open(path), "{path}");
        }
    }
}
