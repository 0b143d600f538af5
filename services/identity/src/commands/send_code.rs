use std::{collections::HashMap, time::Duration};

use wanwu_personal::Phone;

use crate::{
    app::App,
    domain::{
        code::{Code, LIFETIME},
        send_limits::TooMany,
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
        &self,
        phone: &Phone,
        purpose: &str,
        address_key: &str,
    ) -> Result<i32, Error> {
        let index = self.phones.entry(phone.expose());
        let code = Code::new(&*self.entropy);
        let now = self.clock.now();
        let mut tx = self.pool.begin().await?;
        codes::lock_number(&mut tx, &index.mac).await?;
        let sent = codes::sent(&mut tx, &index.mac, address_key, now).await?;
        self.limits.check(&sent, now).map_err(|TooMany(after)| {
            metrics::counter!("wanwu_codes_refused_total").increment(1);
            Error::RateLimited {
                after: after.to_std().unwrap_or(Duration::from_secs(60)),
            }
        })?;
        codes::insert(
            &mut tx,
            &NewCode {
                code_id: self.ids.id::<()>().uuid(),
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
        // After the commit: a message that cannot be sent counts for the limits all the same.
        let params = HashMap::from([("code".to_owned(), code.expose().to_owned())]);
        self.sms
            .send(phone, self.template(TEMPLATE)?, &params)
            .await?;
        metrics::counter!("wanwu_codes_sent_total").increment(1);
        Ok(i32::try_from(LIFETIME.num_seconds()).unwrap_or(i32::MAX))
    }

    /// The provider's code of a template.
    pub(super) fn template(&self, name: &str) -> Result<&str, Error> {
        self.templates
            .get(name)
            .map(String::as_str)
            .ok_or(Error::invalid("template", "is not configured"))
    }
}
