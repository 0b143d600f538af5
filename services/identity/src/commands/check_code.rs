use uuid::Uuid;
use wanwu_personal::Phone;

use crate::{app::App, domain::code::Code, error::Error, store::codes};

impl App {
    /// Compares a code with what was sent to a number; answers the code's id, which the caller uses
    /// up in the transaction of the effect. At most five comparisons a code, right or wrong, however
    /// many arrive at once.
    pub(super) async fn compare_code(
        &self,
        phone: &Phone,
        purpose: &str,
        typed: &str,
    ) -> Result<Uuid, Error> {
        let typed = Code::typed(typed).ok_or(Error::CodeInvalid)?;
        let index = self.phones.entry(phone.expose());
        let now = self.clock.now();
        let code = codes::count_comparison(&self.pool, &index.mac, purpose, now)
            .await?
            .ok_or(Error::CodeInvalid)?;
        if typed.matches(&self.code_key, &index.mac, purpose, &code.code_mac) {
            Ok(code.code_id)
        } else {
            Err(Error::CodeInvalid)
        }
    }
}
