use std::{path::Path, sync::Arc};

use chrono::{DateTime, TimeZone, Utc};
use privacy::app::App;
use sqlx::PgPool;
use uuid::Uuid;
use wanwu_clock::{SystemEntropy, TestClock};
use wanwu_ids::{AccountId, Ids, VersionId};
use wanwu_postgres::requests::BodyKey;

/// Privacy with its agreements published, at a time that the test moves.
pub struct World {
    pub app: Arc<App>,
    pub clock: TestClock,
    pub ids: Ids,
}

pub fn folder() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/agreements"))
}

pub fn noon() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 11, 23, 4, 0, 0).unwrap()
}

impl World {
    pub async fn new(pool: PgPool) -> Self {
        let clock = TestClock::new(noon());
        let ids = Ids::new(Arc::new(clock.clone()), Arc::new(SystemEntropy::default()));
        let app = App::for_tests(pool, Arc::new(clock.clone()), ids.clone(), folder()).unwrap();
        app.publish_catalogue(folder()).await.unwrap();
        Self {
            app: Arc::new(app),
            clock,
            ids,
        }
    }

    pub fn account(&self) -> AccountId {
        self.ids.id()
    }

    pub async fn current(&self) -> Vec<VersionId> {
        let versions = self.app.current_agreements().await.unwrap();
        versions
            .into_iter()
            .map(|version| version.version_id)
            .collect()
    }

    pub async fn registered(&self) -> AccountId {
        let account_id = self.account();
        let current = self.current().await;
        self.app
            .accept_at_registration(account_id, &current)
            .await
            .unwrap();
        account_id
    }

    pub fn body(&self, text: &str) -> wanwu_postgres::requests::BodyMac {
        BodyKey::new(&[7; 32]).mac(&text.to_owned())
    }

    pub fn request_id(&self) -> Uuid {
        self.ids.id::<()>().uuid()
    }
}
