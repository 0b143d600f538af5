use std::str::FromStr;

use base64::{
    Engine, alphabet,
    engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig},
};
use http::HeaderValue;
use prost::Message;
use wanwu_proto::access::v1::principal;

use crate::{Caller, OperatorRole, Principal, Subject};

/// The header in which the edge says on whose behalf it calls.
pub const PRINCIPAL_HEADER: &str = "wanwu-principal-bin";

/// The longest principal that is read, in base64 digits.
const MAX_LENGTH: usize = 8192;

/// Binary metadata comes with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_encode_padding(false)
        .with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// The header does not hold a principal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the principal is not valid")]
pub struct PrincipalError;

/// The header's value for a principal.
#[must_use]
pub fn principal_header(principal: &Principal) -> HeaderValue {
    let text = BASE64.encode(principal.encode_to_vec());
    HeaderValue::try_from(text).expect("base64 is a header's value")
}

/// The caller in the header's value.
pub fn read_principal(value: &[u8]) -> Result<Caller, PrincipalError> {
    if value.len() > MAX_LENGTH {
        return Err(PrincipalError);
    }
    let bytes = BASE64.decode(value).map_err(|_| PrincipalError)?;
    let principal = Principal::decode(bytes.as_slice()).map_err(|_| PrincipalError)?;
    Caller::try_from(principal)
}

impl TryFrom<Principal> for Caller {
    type Error = PrincipalError;

    fn try_from(principal: Principal) -> Result<Self, PrincipalError> {
        let subject = match principal.subject {
            None => Subject::Nobody,
            Some(principal::Subject::Account(account)) => Subject::Account {
                account_id: id(&account.account_id)?,
                session_id: id(&account.session_id)?,
            },
            Some(principal::Subject::AppKey(key)) => Subject::AppKey {
                account_id: id(&key.account_id)?,
                app_id: id(&key.app_id)?,
                key_id: id(&key.key_id)?,
                scopes: key.scopes,
            },
            Some(principal::Subject::Operator(operator)) => Subject::Operator {
                operator_id: id(&operator.operator_id)?,
                session_id: id(&operator.session_id)?,
                // A role that this build does not know gives no right.
                roles: operator
                    .roles
                    .into_iter()
                    .filter_map(|role| OperatorRole::try_from(role).ok())
                    .filter(|&role| role != OperatorRole::Unspecified)
                    .collect(),
            },
        };
        Ok(Self {
            subject,
            request_id: principal.request_id,
            mainland: principal.mainland,
            address_key: principal.address_key,
        })
    }
}

fn id<T: FromStr>(text: &str) -> Result<T, PrincipalError> {
    text.parse().map_err(|_| PrincipalError)
}

#[cfg(test)]
mod tests {
    use wanwu_ids::{AccountId, Ids, OperatorId, SessionId};
    use wanwu_proto::access::v1::{AccountSubject, OperatorSubject};

    use super::*;

    fn principal(account_id: &str) -> Principal {
        let session_id = SessionId::to_string(&Ids::system().id());
        let account = AccountSubject {
            account_id: account_id.to_owned(),
            session_id,
        };
        Principal {
            subject: Some(principal::Subject::Account(account)),
            request_id: "r".to_owned(),
            mainland: true,
            address_key: "a".to_owned(),
        }
    }

    #[test]
    fn a_principal_survives_the_wire() {
        let account_id: AccountId = Ids::system().id();
        let header = principal_header(&principal(&account_id.to_string()));
        let caller = read_principal(header.as_bytes()).unwrap();
        assert_eq!(caller.account_id().unwrap(), account_id);
        assert!(caller.mainland);
        assert_eq!(
            (caller.request_id.as_str(), caller.address_key.as_str()),
            ("r", "a")
        );
        // Other implementations pad.
        let padded = format!("{}==", header.to_str().unwrap().trim_end_matches('='));
        let _ = read_principal(padded.as_bytes());
    }

    #[test]
    fn what_is_not_a_principal_is_refused() {
        let unknown = principal_header(&principal("someone"));
        let long = "A".repeat(MAX_LENGTH + 1);
        for bytes in [&b"!!"[..], b"AAAA", unknown.as_bytes(), long.as_bytes()] {
            assert_eq!(read_principal(bytes), Err(PrincipalError));
        }
    }

    #[test]
    fn nobody_is_an_empty_principal() {
        let header = principal_header(&Principal::default());
        let caller = read_principal(header.as_bytes()).unwrap();
        assert_eq!(caller.subject, Subject::Nobody);
        assert!(!caller.mainland, "an absent field is no permission");
    }

    #[test]
    fn a_role_that_is_not_known_gives_no_right() {
        let id = || OperatorId::to_string(&Ids::system().id());
        let operator = OperatorSubject {
            operator_id: id(),
            session_id: id(),
            roles: vec![0, 3, 99],
        };
        let subject = Some(principal::Subject::Operator(operator));
        let caller = Caller::try_from(Principal {
            subject,
            ..Principal::default()
        })
        .unwrap();
        assert!(caller.has_role(OperatorRole::PrivacyOfficer));
        let Subject::Operator { roles, .. } = caller.subject else {
            panic!("an operator")
        };
        assert_eq!(roles, [OperatorRole::PrivacyOfficer]);
    }
}
