use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{Connection, PgConnection};
use uuid::Uuid;

use super::{ApiError, Journey, customer::text};
use crate::stack::Stack;

/// 1 fen in 10^-9 CNY.
const NANOS_OF_FEN: i64 = 10_000_000;
const NANOS_OF_CNY: i64 = 1_000_000_000;
/// How long a payment or a settlement may take to be seen.
const PATIENCE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(100);

/// A `google.type.Money` of whole fen.
#[must_use]
pub fn fen(fen: i64) -> Value {
    let nanos = fen * NANOS_OF_FEN;
    json!({
        "currencyCode": "CNY",
        "units": (nanos / NANOS_OF_CNY).to_string(),
        "nanos": nanos % NANOS_OF_CNY,
    })
}

/// A `google.type.Money` in 10^-9 CNY; what is absent counts as zero.
#[must_use]
pub fn nanos(money: &Value) -> i64 {
    let units = match &money["units"] {
        Value::String(text) => text.parse().unwrap_or(0),
        other => other.as_i64().unwrap_or(0),
    };
    units * NANOS_OF_CNY + money["nanos"].as_i64().unwrap_or(0)
}

impl Journey {
    /// Orders credit, pays, and waits until it is credited. Answers the order's id.
    ///
    /// # Errors
    /// When a step is refused or the payment is not seen within 30 seconds.
    pub async fn top_up(&self, fen: i64) -> Result<String, ApiError> {
        let order_id = self.order(fen).await?;
        self.simulated.pay(&order_id).await?;
        self.wait_paid(&order_id).await?;
        Ok(order_id)
    }

    /// Makes a top-up order.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn order(&self, amount_fen: i64) -> Result<String, ApiError> {
        let body = json!({
            "requestId": Uuid::now_v7(),
            "amount": fen(amount_fen),
            "provider": "PAYMENT_PROVIDER_WECHAT_NATIVE",
        });
        let answer = self
            .call_verified("wanwu.billing.v1.OrderService/CreateTopUpOrder", body)
            .await?;
        text(&answer["order"]["orderId"], "order")
    }

    /// Waits until an order is paid.
    ///
    /// # Errors
    /// When that is not seen within 30 seconds.
    pub async fn wait_paid(&self, order_id: &str) -> Result<(), ApiError> {
        let begin = Instant::now();
        loop {
            let body = json!({"orderId": order_id});
            let answer = self
                .call("wanwu.billing.v1.OrderService/GetOrder", body)
                .await?;
            if answer["order"]["state"] == "ORDER_STATE_PAID" {
                return Ok(());
            }
            if begin.elapsed() > PATIENCE {
                return Err(ApiError::Late(format!("the payment of {order_id}")));
            }
            tokio::time::sleep(POLL).await;
        }
    }

    /// The bill of a call, waited for until it is settled.
    ///
    /// # Errors
    /// When it is not settled within 30 seconds.
    pub async fn bill(&self, call_id: &str) -> Result<Value, ApiError> {
        let begin = Instant::now();
        loop {
            let body = json!({"callId": call_id});
            match self
                .call("wanwu.billing.v1.BalanceService/GetCallBill", body)
                .await
            {
                Ok(answer) => return Ok(answer["bill"].clone()),
                Err(error) if error.status() != 404 => return Err(error),
                Err(_) if begin.elapsed() > PATIENCE => {
                    return Err(ApiError::Late(format!("the bill of {call_id}")));
                }
                Err(_) => tokio::time::sleep(POLL).await,
            }
        }
    }

    /// The newest lines of the statement.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn statement(&self) -> Result<Vec<Value>, ApiError> {
        let method = "wanwu.billing.v1.BalanceService/ListStatementLines";
        let answer = self.call(method, json!({"pageSize": 100})).await?;
        Ok(answer["lines"].as_array().cloned().unwrap_or_default())
    }

    /// What is free to spend and what is set aside, in 10^-9 CNY.
    ///
    /// # Errors
    /// When it is refused.
    pub async fn balance(&self) -> Result<(i64, i64), ApiError> {
        let answer = self
            .call("wanwu.billing.v1.BalanceService/GetBalance", json!({}))
            .await?;
        Ok((nanos(&answer["available"]), nanos(&answer["leased"])))
    }

    /// The price of one unit of a model, in 10^-9 CNY: input and output token.
    ///
    /// # Errors
    /// When it is refused or the model has no price.
    pub async fn price(&self, model: &str) -> Result<(i64, i64), ApiError> {
        let list = self.price_list().await?;
        let of = |unit: &str| {
            price_in(&list, model, unit).ok_or_else(|| ApiError::Lacks(format!("price of {model}")))
        };
        Ok((of("UNIT_INPUT_TOKEN")?, of("UNIT_OUTPUT_TOKEN")?))
    }

    /// The price list in force.
    ///
    /// # Errors
    /// When it cannot be read.
    pub async fn price_list(&self) -> Result<Value, ApiError> {
        let method = "wanwu.billing.v1.PriceService/GetPriceList";
        let answer = self.api.call(method, None, json!({})).await?;
        Ok(answer["priceList"].clone())
    }
}

/// What one unit of a model costs by a list, in 10^-9 CNY. What is 0 protobuf leaves out of its JSON, as of answers
/// where there are none.
fn price_in(list: &Value, model: &str, unit: &str) -> Option<i64> {
    let mut prices = list["prices"].as_array()?.iter();
    let price = prices.find(|price| price["model"] == model && price["unit"] == unit)?;
    match &price["nanosPerUnit"] {
        Value::Null => Some(0),
        nanos => nanos.as_str()?.parse().ok(),
    }
}

/// The sum of all entries of the ledger and their number, read as the superuser.
///
/// # Errors
/// When the database cannot be read.
pub async fn ledger_sum(stack: &Stack) -> Result<(String, i64), sqlx::Error> {
    let mut connection = PgConnection::connect(&stack.database_url("billing")).await?;
    sqlx::query_as("select coalesce(sum(amount_nanos), 0)::text, count(*) from entries")
        .fetch_one(&mut connection)
        .await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_price_of_nothing_is_a_price_and_one_that_is_not_listed_is_none() {
        let list = json!({"prices": [
            {"model": "vectors", "unit": "UNIT_INPUT_TOKEN", "nanosPerUnit": "100"},
            {"model": "vectors", "unit": "UNIT_OUTPUT_TOKEN"},
        ]});
        let of = |model, unit| price_in(&list, model, unit);
        assert_eq!(of("vectors", "UNIT_INPUT_TOKEN"), Some(100));
        assert_eq!(of("vectors", "UNIT_OUTPUT_TOKEN"), Some(0));
        assert_eq!(of("vectors", "UNIT_IMAGE"), None);
        assert_eq!(of("chat", "UNIT_INPUT_TOKEN"), None);
    }

    #[test]
    fn fen_become_money_and_back() {
        assert_eq!(
            fen(1234),
            json!({"currencyCode": "CNY", "units": "12", "nanos": 340_000_000})
        );
        assert_eq!(nanos(&fen(1234)), 12_340_000_000);
        assert_eq!(nanos(&Value::Null), 0);
    }
}
