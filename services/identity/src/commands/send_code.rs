use std::{collections::HashMap, sync::Arc, time::Duration};

use chrono::{DateTime, Utc};
use tracing::Instrument;
use uuid::Uuid;
use wanwu_personal::Phone;

use crate::{
    app::App,
    domain::{
        code::{Code, LIFETIME},
        send_limits::{Sent, TooMany},
    },
    error::Error,
    store::codes::{self, NewCode},
};

/// The template of messages with a code.
const TEMPLATE: &str = "verification_code";

impl App {
    /// Sends a code to a number, whether or not it has an account: nothing here looks. Answers the
    /// code's life in seconds (obligations T2.1.3b, T2.1.2d).
    pub async fn send_code(
        self: &Arc<Self>,
        phone: Phone,
        purpose: &str,
        address_key: &str,
    ) -> Result<i32, Error> {
        let index = self.phones.entry(phone.expose());
        let macs = self.phones.macs(phone.expose());
        let template = self.template(TEMPLATE)?.to_owned();
        let code = Code::new(&*self.entropy);
        let code_id = self.ids.id::<()>().uuid();
        // Whoever is over a limit waits for no turn.
        let now = self.clock.now();
        let mut connection = self.pool.acquire().await?;
        self.within_limits(
            &codes::sent(&mut connection, &macs, address_key, now).await?,
            now,
        )?;
        drop(connection);

        let mut tx = self.pool.begin().await?;
        codes::take_turn(&mut tx).await?;
        // The time of the turn, not of the request: later turns are later.
        let now = self.clock.now();
        self.within_limits(&codes::sent(&mut tx, &macs, address_key, now).await?, now)?;
        codes::insert(
            &mut tx,
            &NewCode {
                code_id,
                phone_mac: &index.mac,
                purpose,
                code_mac: &code.mac(&self.code_key, &index.mac, purpose),
                address_key,
                sent_at: now,
                expires_at: now + LIFETIME,
            },
        )
        .await?;
        tx.commit().await?;

        // After the commit, and to its end also when the client goes away: it counts for the
        // limits, so the row shall say what became of it.
        let app = Arc::clone(self);
        let deliver = async move { app.deliver(code_id, &phone, &template, &code).await };
        tokio::spawn(deliver.in_current_span())
            .await
            .map_err(|_| Error::Secret("the message"))??;
        Ok(i32::try_from(LIFETIME.num_seconds()).unwrap_or(i32::MAX))
    }

    fn within_limits(&self, sent: &Sent, now: DateTime<Utc>) -> Result<(), Error> {
        let checked = self.limits.check(sent, now);
        checked.map_err(|TooMany(after)| {
            metrics::counter!("wanwu_codes_refused_total").increment(1);
            Error::RateLimited {
                after: after.to_std().unwrap_or(Duration::from_secs(60)),
            }
        })
    }

    async fn deliver(
        &self,
        code_id: Uuid,
        phone: &Phone,
        template: &str,
        code: &Code,
    ) -> Result<(), Error> {
        let params = HashMap::from([("code".to_owned(), code.expose().to_owned())]);
        let sent = self.sms.send(code_id, phone, template, &params).await;
        let outcome = if sent.is_ok() { "sent" } else { "failed" };
        metrics::counter!("wanwu_codes_sent_total", "outcome" => outcome).increment(1);
        if let Err(error) = codes::note_delivery(&self.pool, code_id, sent.is_ok()).await {
            // The message is what counts.
            let error: &dyn std::error::Error = &error;
            tracing::warn!(error, "what became of a message could not be written");
        }
        Ok(sent?)
    }

    /// The provider's code of a template.
    pub(super) fn template(&self, name: &str) -> Result<&str, Error> {
        self.templates
            .get(name)
            .map(String::as_str)
            .ok_or(Error::invalid("template", "is not configured"))
    }
}
