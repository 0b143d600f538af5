use serde::{Deserialize, Serialize};
use wanwu_personal::{BankAccountName, BankAccountNumber, EmailAddress, PostalAddress, Uscc};
use wanwu_proto::billing::v1 as pb;

use crate::{domain::invoice::Kind, error::Error};

/// Who stands on a fapiao, and where it is sent. It has no `Debug`: it is sealed as a whole, and shown
/// to finance only.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Buyer {
    title: String,
    uscc: String,
    address: String,
    phone: String,
    bank_name: String,
    account_number: String,
    email: String,
}

impl Buyer {
    /// Reads what the kind of fapiao asks for, and refuses what it does not. The texts of errors do
    /// not show it.
    ///
    /// # Errors
    /// With the field that is wrong.
    pub fn parse(kind: Kind, said: &pb::InvoiceBuyer) -> Result<Self, Error> {
        let special = kind == Kind::Special;
        let title = BankAccountName::parse(&said.title);
        let title =
            title.map_err(|_| Error::invalid("buyer.title", "must have 2 to 100 characters"))?;
        let uscc = match kind {
            Kind::GeneralPerson => unused("buyer.uscc", &said.uscc)?,
            Kind::GeneralEnterprise | Kind::Special => {
                let uscc = Uscc::parse(&said.uscc);
                let uscc = uscc.map_err(|why| Error::invalid("buyer.uscc", why.to_string()))?;
                uscc.expose().to_owned()
            }
        };
        let email = EmailAddress::parse(&said.email);
        let email = email.map_err(|why| Error::invalid("buyer.email", why.to_string()))?;
        let mut buyer = Self {
            title: title.expose().to_owned(),
            uscc,
            address: String::new(),
            phone: String::new(),
            bank_name: String::new(),
            account_number: String::new(),
            email: email.expose().to_owned(),
        };
        if special {
            buyer.read_special(said)?;
        } else {
            unused("buyer.address", &said.address)?;
            unused("buyer.phone", &said.phone)?;
            unused("buyer.bank_name", &said.bank_name)?;
            unused("buyer.account_number", &said.account_number)?;
        }
        Ok(buyer)
    }

    fn read_special(&mut self, said: &pb::InvoiceBuyer) -> Result<(), Error> {
        let address = PostalAddress::parse(&said.address);
        let address = address
            .map_err(|_| Error::invalid("buyer.address", "must have 5 to 200 characters"))?;
        let phone = said.phone.trim();
        let digits = |c: char| c.is_ascii_digit() || c == '-';
        if !(7..=20).contains(&phone.len()) || !phone.chars().all(digits) {
            return Err(Error::invalid("buyer.phone", "must be 7 to 20 digits"));
        }
        let bank = BankAccountName::parse(&said.bank_name);
        let bank =
            bank.map_err(|_| Error::invalid("buyer.bank_name", "must have 2 to 100 characters"))?;
        let number = BankAccountNumber::parse(&said.account_number);
        let number =
            number.map_err(|why| Error::invalid("buyer.account_number", why.to_string()))?;
        address.expose().clone_into(&mut self.address);
        phone.clone_into(&mut self.phone);
        bank.expose().clone_into(&mut self.bank_name);
        number.expose().clone_into(&mut self.account_number);
        Ok(())
    }

    /// As it is sealed.
    pub(super) fn to_stored(&self) -> String {
        serde_json::to_string(self).expect("texts are JSON")
    }

    /// From what was sealed.
    pub(super) fn from_stored(text: &str) -> Result<Self, Error> {
        serde_json::from_str(text).map_err(|error| Error::Personal(error.into()))
    }
}

fn unused(field: &'static str, text: &str) -> Result<String, Error> {
    if text.is_empty() {
        Ok(String::new())
    } else {
        Err(Error::invalid(field, "is not asked for here"))
    }
}

impl From<Buyer> for pb::InvoiceBuyer {
    fn from(buyer: Buyer) -> Self {
        Self {
            title: buyer.title,
            uscc: buyer.uscc,
            address: buyer.address,
            phone: buyer.phone,
            bank_name: buyer.bank_name,
            account_number: buyer.account_number,
            email: buyer.email,
        }
    }
}
