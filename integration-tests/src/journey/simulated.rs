use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::{Api, ApiError, Person};
use crate::stack::Stack;

/// How long a message may take to arrive.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often it is looked for.
const POLL: Duration = Duration::from_millis(50);

/// The world around the platform, as the simulators play it.
#[derive(Clone, Debug)]
pub struct Simulated {
    sms: Api,
    pay: Api,
    alipay: Api,
    agency: Api,
}

impl Simulated {
    /// The simulators of a stack.
    #[must_use]
    pub fn new(stack: &Stack) -> Self {
        let api = |name: &str| Api::new(stack.simulator(name));
        Self {
            sms: api("sms"),
            pay: api("wechat-pay"),
            alipay: api("alipay"),
            agency: api("agency"),
        }
    }

    /// Messages that a phone has received, oldest first.
    ///
    /// # Errors
    /// When the simulator does not answer.
    pub async fn messages(&self, phone: &str) -> Result<Vec<Value>, ApiError> {
        let truth = get(&self.sms, "_truth").await?;
        let messages = truth["messages"].as_array().cloned().unwrap_or_default();
        Ok(messages
            .into_iter()
            .filter(|message| message["phone"] == phone)
            .collect())
    }

    /// The code in the newest message to a phone, when it has received more than `seen`.
    ///
    /// # Errors
    /// When none comes within ten seconds.
    pub async fn code(&self, phone: &str, seen: usize) -> Result<String, ApiError> {
        let begin = Instant::now();
        loop {
            let messages = self.messages(phone).await?;
            if messages.len() > seen
                && let Some(code) = messages.last().and_then(|m| m["params"]["code"].as_str())
            {
                return Ok(code.to_owned());
            }
            if begin.elapsed() > PATIENCE {
                return Err(ApiError::Late("an SMS".to_owned()));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// Makes a person known to the agency.
    ///
    /// # Errors
    /// When the simulator does not answer.
    pub async fn know(&self, person: &Person) -> Result<(), ApiError> {
        let body = json!({"name": person.name, "id_number": person.resident_id});
        post(&self.agency, "_persons", body).await
    }

    /// The payer scans the code of an order and pays.
    ///
    /// # Errors
    /// When the simulator does not know the order.
    pub async fn pay(&self, order_id: &str) -> Result<(), ApiError> {
        post(
            &self.pay,
            &format!("_pay/{}", order_id.replace('-', "")),
            json!({}),
        )
        .await
    }
}

impl Simulated {
    /// The payer of an order pays at Alipay too.
    ///
    /// # Errors
    /// When the simulator does not know the order.
    pub async fn pay_at_alipay(&self, order_id: &str) -> Result<(), ApiError> {
        let path = format!("_pay/{}", order_id.replace('-', ""));
        post(&self.alipay, &path, json!({})).await
    }

    /// The payer pays at WeChat Pay in the moment in which the order is closed there.
    ///
    /// # Errors
    /// When the simulator does not know the order.
    pub async fn pay_closed(&self, order_id: &str) -> Result<(), ApiError> {
        let path = format!("_pay/{}?closed=true", order_id.replace('-', ""));
        post(&self.pay, &path, json!({})).await
    }

    /// What WeChat Pay and Alipay recorded of orders, trades and refunds.
    ///
    /// # Errors
    /// When a simulator does not answer.
    pub async fn payment_truth(&self) -> Result<(Value, Value), ApiError> {
        let wechat = get(&self.pay, "_truth").await?;
        Ok((wechat, get(&self.alipay, "_truth").await?))
    }

    /// Tells the payment providers what to do wrong; an empty list: nothing.
    ///
    /// # Errors
    /// When a simulator does not answer.
    pub async fn payment_faults(&self, faults: Value) -> Result<(), ApiError> {
        post(&self.pay, "_faults", faults.clone()).await?;
        post(&self.alipay, "_faults", faults).await
    }
}

async fn get(api: &Api, path: &str) -> Result<Value, ApiError> {
    let transport = |source| ApiError::Transport {
        method: path.to_owned(),
        source,
    };
    let answer = api
        .http()
        .get(format!("{}/{path}", api.base()))
        .send()
        .await;
    super::api::accepted(path, answer.map_err(transport)?)
        .await?
        .json()
        .await
        .map_err(transport)
}

async fn post(api: &Api, path: &str, body: Value) -> Result<(), ApiError> {
    let transport = |source| ApiError::Transport {
        method: path.to_owned(),
        source,
    };
    let answer = api
        .http()
        .post(format!("{}/{path}", api.base()))
        .json(&body)
        .send()
        .await;
    super::api::accepted(path, answer.map_err(transport)?)
        .await
        .map(drop)
}
