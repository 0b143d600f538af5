//! What can be called from outside, read from descriptors: every method with its rule, its service
//! and its messages. A new table replaces the old one as a whole.

use std::{collections::HashMap, sync::Arc};

use bytes::Bytes;
use prost_reflect::{DescriptorError, DescriptorPool, MessageDescriptor, MethodDescriptor};
use tonic::service::Routes;
use wanwu_access::{OPEN_SERVICES, Rule, Rules, RulesError};
use wanwu_grpc::Reflection;

use crate::{chat::Shape, config::RoutesConfig};

/// The public methods.
pub struct Contracts {
    rules: Rules,
    methods: HashMap<Box<str>, Arc<Method>>,
    reflection: Reflection,
}

/// A public method.
pub struct Method {
    /// `/package.Service/Method`.
    pub path: Box<str>,
    /// Who answers it.
    pub target: Target,
    /// Who may call it.
    pub rule: Arc<Rule>,
    /// The client sends a stream.
    pub client_streaming: bool,
    /// The service answers with a stream.
    pub server_streaming: bool,
    /// What the client sends.
    pub input: MessageDescriptor,
    /// What the service answers.
    pub output: MessageDescriptor,
    /// The kind of call of a model that it answers; none: it is another method.
    pub shape: Option<Shape>,
}

/// Who answers a method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// This service.
    Service(Arc<str>),
    /// The one that the header `target-service` names.
    ByHeader,
}

/// The descriptors cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ContractsError {
    /// The bytes are not a set of descriptors.
    #[error("the descriptors are not valid")]
    Descriptors(#[from] DescriptorError),
    /// The rules in them are not.
    #[error("the access rules are not valid")]
    Rules(#[from] RulesError),
    /// An empty table would close the platform.
    #[error("the descriptors have no method that a client may call")]
    Nothing,
}

impl Contracts {
    /// Reads an encoded `FileDescriptorSet` whose options are whole.
    pub fn read(bytes: &[u8], routes: &RoutesConfig) -> Result<Self, ContractsError> {
        let pool = DescriptorPool::decode(bytes)?;
        let rules = Rules::from_pool(&pool)?;
        let mut methods = HashMap::new();
        let mut services = Vec::new();
        for service in pool.services() {
            let Some(target) = target(service.package_name(), routes) else {
                continue;
            };
            let before = methods.len();
            for method in service.methods() {
                let path = format!("/{}/{}", service.full_name(), method.name());
                let Some(rule) = rules.rule(&path).filter(|rule| is_public(rule)) else {
                    continue;
                };
                let method = public(&path, &method, target.clone(), Arc::clone(rule));
                methods.insert(path.into_boxed_str(), Arc::new(method));
            }
            if methods.len() > before {
                services.push(service.full_name().to_owned());
            }
        }
        if methods.is_empty() {
            return Err(ContractsError::Nothing);
        }
        Ok(Self {
            rules,
            methods,
            reflection: reflection(bytes, services),
        })
    }

    /// A public method by its path.
    #[must_use]
    pub fn method(&self, path: &str) -> Option<&Arc<Method>> {
        self.methods.get(path)
    }

    /// The rules, those of services among themselves included.
    #[must_use]
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Answers reflection, v1 and v1alpha, about the public services.
    #[must_use]
    pub fn reflection(&self) -> Routes {
        self.reflection.routes()
    }

    /// How many public methods there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.methods.len()
    }

    /// There are none; no table is like that.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.methods.is_empty()
    }
}

/// The service with the longest prefix of the package.
fn target(package: &str, routes: &RoutesConfig) -> Option<Target> {
    // A package is below the prefix "wanwu.billing." like its versions.
    let package = format!("{package}.");
    if package.starts_with(&routes.by_target_service) {
        return Some(Target::ByHeader);
    }
    let fitting = routes
        .packages
        .iter()
        .filter(|(_, prefix)| package.starts_with(*prefix));
    let (service, _) = fitting.max_by_key(|(_, prefix)| prefix.len())?;
    Some(Target::Service(service.as_str().into()))
}

/// Somebody outside may call it: what only services call among themselves is not there.
fn is_public(rule: &Rule) -> bool {
    rule.anonymous || rule.account || rule.app_key || !rule.operator_roles.is_empty()
}

fn public(path: &str, method: &MethodDescriptor, target: Target, rule: Arc<Rule>) -> Method {
    Method {
        path: path.into(),
        target,
        rule,
        client_streaming: method.is_client_streaming(),
        server_streaming: method.is_server_streaming(),
        input: method.input(),
        output: method.output(),
        shape: Shape::of(path),
    }
}

fn reflection(bytes: &[u8], mut services: Vec<String>) -> Reflection {
    services.extend(OPEN_SERVICES.map(str::to_owned));
    let health = Bytes::from_static(tonic_health::pb::FILE_DESCRIPTOR_SET);
    Reflection::new(vec![Bytes::copy_from_slice(bytes), health], Some(services))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn routes() -> RoutesConfig {
        let packages = [
            ("identity", "wanwu.identity."),
            ("billing", "wanwu.billing."),
        ];
        let packages = packages.map(|(service, prefix)| (service.to_owned(), prefix.to_owned()));
        RoutesConfig {
            by_target_service: "wanwu.operations.".to_owned(),
            packages: packages.into(),
        }
    }

    #[test]
    fn only_what_somebody_outside_may_call_is_there() {
        let contracts = Contracts::read(wanwu_proto::DESCRIPTORS, &routes()).unwrap();
        let there = |path: &str| contracts.method(path).map(|method| method.target.clone());
        assert_eq!(
            there("/wanwu.identity.v1.SessionService/SignIn"),
            Some(Target::Service("identity".into()))
        );
        assert_eq!(
            there("/wanwu.operations.v1.DeadLetterService/ListDeadLetters"),
            Some(Target::ByHeader)
        );
        for path in [
            "/wanwu.identity.v1.GrantService/GetGrant",
            "/wanwu.billing.v1.LeaseService/OpenLease",
            "/wanwu.billing.v1.PaymentCallbackService/ReceiveWeChatPayCallback",
            // No route leads to it.
            "/wanwu.inference.v1.ModelService/ListModels",
            "/wanwu.identity.v1.SessionService",
            "",
        ] {
            assert_eq!(there(path), None, "{path}");
        }
    }

    #[test]
    fn a_method_that_calls_a_model_knows_its_shape() {
        let packages = [("inference-routing", "wanwu.inference."), ("x", "wanwu.")];
        let packages = packages.map(|(service, prefix)| (service.to_owned(), prefix.to_owned()));
        let routes = RoutesConfig {
            by_target_service: "wanwu.operations.".to_owned(),
            packages: packages.into(),
        };
        let contracts = Contracts::read(wanwu_proto::DESCRIPTORS, &routes).unwrap();
        let shape = |path: &str| contracts.method(path).map(|method| method.shape);
        for known in [
            Shape::Chat,
            Shape::Completions,
            Shape::Responses,
            Shape::Embeddings,
        ] {
            assert_eq!(shape(known.method()), Some(Some(known)), "{known:?}");
        }
        let others = [
            "/wanwu.inference.v1.ModelService/ListModels",
            "/wanwu.identity.v1.SessionService/SignIn",
        ];
        for path in others {
            assert_eq!(shape(path), Some(None), "{path}");
        }
    }

    #[test]
    fn descriptors_without_methods_are_refused() {
        assert!(matches!(
            Contracts::read(b"nonsense", &routes()),
            Err(ContractsError::Descriptors(_))
        ));
        let nowhere = RoutesConfig {
            by_target_service: "none.".to_owned(),
            packages: std::collections::BTreeMap::new(),
        };
        assert!(matches!(
            Contracts::read(wanwu_proto::DESCRIPTORS, &nowhere),
            Err(ContractsError::Nothing)
        ));
    }
}
