//! Who calls.

use wanwu_access::Principal;
use wanwu_ids::{AccountId, AppId, Ids, KeyId, SessionId};
use wanwu_proto::access::v1::{AccountSubject, AppKeySubject, principal};

pub fn account() -> Principal {
    let ids = Ids::system();
    let account = AccountSubject {
        account_id: AccountId::to_string(&ids.id()),
        session_id: SessionId::to_string(&ids.id()),
    };
    let subject = Some(principal::Subject::Account(account));
    Principal {
        subject,
        mainland: true,
        ..Principal::default()
    }
}

pub fn app_key(scope: &str) -> Principal {
    let ids = Ids::system();
    let key = AppKeySubject {
        account_id: AccountId::to_string(&ids.id()),
        app_id: AppId::to_string(&ids.id()),
        key_id: KeyId::to_string(&ids.id()),
        scopes: vec![scope.to_owned()],
    };
    let subject = Some(principal::Subject::AppKey(key));
    Principal {
        subject,
        mainland: true,
        ..Principal::default()
    }
}

pub fn nobody() -> Principal {
    Principal {
        mainland: true,
        ..Principal::default()
    }
}
