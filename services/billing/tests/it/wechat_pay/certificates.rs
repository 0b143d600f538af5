//! The platform's certificates, sealed with the APIv3 key.

use rcgen::SerialNumber;

use super::*;
use crate::notices::seal_text;

impl WechatPay {
    /// A new certificate with this serial, offered from now on; its key.
    pub fn offer_certificate(&self, serial: &str) -> Arc<KeyPair> {
        let key = rsa();
        let mut certificate = CertificateParams::new(vec!["platform".to_owned()]).unwrap();
        certificate.serial_number = Some(SerialNumber::from_slice(&hex::decode(serial).unwrap()));
        let certificate = certificate.self_signed(&key).unwrap();
        let offered = (serial.to_owned(), certificate.pem());
        self.certificates.lock().push(offered);
        Arc::new(KeyPair::from_pkcs8(key.serialized_der()).unwrap())
    }
}

pub async fn list(
    State(pay): State<WechatPay>,
    method: Method,
    uri: OriginalUri,
    headers: HeaderMap,
) -> Result<Response, Response> {
    pay.enter(&method, &uri, &headers, b"")?;
    let now = pay.clock.now();
    let offered = pay.certificates.lock().clone();
    let data: Vec<Value> = offered
        .iter()
        .map(|(serial, pem)| {
            json!({
                "serial_no": serial,
                "effective_time": now,
                "expire_time": now + chrono::Duration::days(30),
                "encrypt_certificate": seal_text(API_V3_KEY, "certificate", pem),
            })
        })
        .collect();
    Ok(pay.answer(StatusCode::OK, Some(&json!({"data": data}))))
}
