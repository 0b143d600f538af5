use wanwu_ids::{AccountId, AppId, RequestId};
use wanwu_postgres::{
    page::{Page, PageRequest},
    requests::{self, BodyMac, Claim, RequestKey},
};

use crate::{
    app::App,
    error::Error,
    store::apps::{self, App as StoredApp},
};

/// Apps that an account may have.
const MAX_APPS: i64 = 100;

/// A person makes an app.
pub struct CreateApp {
    /// Who.
    pub account_id: AccountId,
    /// Names the request.
    pub request_id: RequestId,
    /// Proves that a repeated request is the same.
    pub body: BodyMac,
    /// The app's name.
    pub name: String,
}

impl App {
    /// Makes an app.
    pub async fn create_app(&self, command: CreateApp) -> Result<StoredApp, Error> {
        let now = self.clock.now();
        let app = StoredApp {
            app_id: self.ids.id(),
            account_id: command.account_id,
            name: command.name,
            created_at: now,
        };
        let mut tx = self.pool.begin().await?;
        let caller = format!("account:{}", command.account_id);
        let key = RequestKey {
            method: "wanwu.identity.v1.AppService/CreateApp",
            caller: &caller,
            request_id: command.request_id.uuid(),
        };
        let (object_id, kept) = (app.app_id.uuid(), Some(requests::KEPT));
        if let Claim::Repeated(made) =
            requests::claim(&mut tx, key, command.body, object_id, now, kept).await?
        {
            return apps::find(&mut tx, AppId::from_uuid(made))
                .await?
                .ok_or(Error::NotFound);
        }
        apps::lock_owner(&mut tx, command.account_id).await?;
        if apps::count(&mut tx, command.account_id).await? >= MAX_APPS {
            return Err(Error::TooMany);
        }
        apps::insert(&mut tx, &app).await?;
        tx.commit().await?;
        Ok(app)
    }

    /// The account's app.
    pub async fn app(&self, account_id: AccountId, id: AppId) -> Result<StoredApp, Error> {
        let mut connection = self.pool.acquire().await?;
        apps::find(&mut connection, id)
            .await?
            .filter(|app| app.account_id == account_id)
            .ok_or(Error::NotFound)
    }

    /// Who owns an app.
    pub async fn app_owner(&self, id: AppId) -> Result<AccountId, Error> {
        let mut connection = self.pool.acquire().await?;
        let app = apps::find(&mut connection, id)
            .await?
            .ok_or(Error::NotFound)?;
        Ok(app.account_id)
    }

    /// The account's apps, newest first.
    pub async fn apps(
        &self,
        account_id: AccountId,
        page: &PageRequest<AppId>,
    ) -> Result<Page<StoredApp>, Error> {
        let mut connection = self.pool.acquire().await?;
        let rows = apps::list(&mut connection, account_id, page.after, page.limit()).await?;
        Ok(page.page(rows, |app| app.app_id))
    }
}
