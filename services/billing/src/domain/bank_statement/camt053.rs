//! ISO 20022 camt.053, any version: elements are known by their local names.

use roxmltree::{Document, Node};

use super::{Direction, Fields, InvalidStatement, StatementLine, limited, text};

/// Reads a statement. An entry's `AcctSvcrRef` is its serial number; a reversal (`RvslInd`) names the
/// reversed entry's in `Refs/TxId`.
///
/// # Errors
/// When the file is too large, not XML, or an entry is not readable or not in CNY; the first such.
pub fn read(content: &[u8]) -> Result<Vec<StatementLine>, InvalidStatement> {
    let file = |what| InvalidStatement { line: 0, what };
    // A document type, and with it entities, is refused by the parser.
    let document = Document::parse(text(content)?).map_err(|_| file("is not XML"))?;
    let root = document.root_element();
    if root.tag_name().name() != "Document" {
        return Err(file("is not a camt.053 document"));
    }
    let entries = root.descendants().filter(|node| named(node, "Ntry"));
    let mut lines = Vec::new();
    for (number, entry) in (1..).zip(entries) {
        lines.push(entry_line(entry, number)?);
    }
    limited(lines)
}

fn entry_line(entry: Node<'_, '_>, line: usize) -> Result<StatementLine, InvalidStatement> {
    let wrong = |what| InvalidStatement { line, what };
    let amount = child(entry, "Amt").ok_or_else(|| wrong("has no amount"))?;
    if amount.attribute("Ccy") != Some("CNY") {
        return Err(wrong("is not in CNY"));
    }
    let details = |path: &[&str]| {
        let start = descend(entry, &["NtryDtls", "TxDtls"])?;
        descend(start, path)?.text()
    };
    let reversal = at(entry, &["RvslInd"]) == Some("true");
    let direction = match (at(entry, &["CdtDbtInd"]), reversal) {
        (Some("CRDT"), false) => Direction::In,
        (Some("DBIT"), false) => Direction::Out,
        (Some("DBIT"), true) => {
            let original = details(&["Refs", "TxId"]);
            Direction::Reversal(original.unwrap_or_default().trim().to_owned())
        }
        _ => return Err(wrong("has no direction that is known")),
    };
    let serial = at(entry, &["AcctSvcrRef"]).or_else(|| details(&["Refs", "AcctSvcrRef"]));
    let booked = at(entry, &["BookgDt", "DtTm"]).or_else(|| at(entry, &["BookgDt", "Dt"]));
    let party = ["RltdPties", "DbtrAcct", "Id"];
    let account = details(&[&party[..], &["IBAN"]].concat())
        .or_else(|| details(&[&party[..], &["Othr", "Id"]].concat()));
    let fields = Fields {
        serial: serial.unwrap_or_default(),
        booked_at: booked.unwrap_or_default(),
        amount: amount.text().unwrap_or_default(),
        direction,
        account: account.unwrap_or_default(),
        remark: details(&["RmtInf", "Ustrd"]).unwrap_or_default(),
    };
    fields.read(line)
}

fn named(node: &Node<'_, '_>, name: &str) -> bool {
    node.is_element() && node.tag_name().name() == name
}

fn child<'a, 'b>(node: Node<'a, 'b>, name: &str) -> Option<Node<'a, 'b>> {
    node.children().find(|child| named(child, name))
}

fn descend<'a, 'b>(node: Node<'a, 'b>, path: &[&str]) -> Option<Node<'a, 'b>> {
    path.iter().try_fold(node, |node, name| child(node, name))
}

fn at<'a>(node: Node<'a, '_>, path: &[&str]) -> Option<&'a str> {
    descend(node, path)?.text()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn document(entries: &str) -> String {
        format!(
            "<?xml version=\"1.0\"?><Document xmlns=\"urn:iso:std:iso:20022:tech:xsd:camt.053.001.08\">\
             <BkToCstmrStmt><Stmt>{entries}</Stmt></BkToCstmrStmt></Document>"
        )
    }

    const CREDIT: &str = "<Ntry><Amt Ccy=\"CNY\">1000.00</Amt><CdtDbtInd>CRDT</CdtDbtInd>\
        <BookgDt><DtTm>2026-11-23T10:00:00+08:00</DtTm></BookgDt><AcctSvcrRef>S1</AcctSvcrRef>\
        <NtryDtls><TxDtls><RltdPties><DbtrAcct><Id><Othr><Id>6222021234567890</Id></Othr></Id></DbtrAcct>\
        </RltdPties><RmtInf><Ustrd>充值WWABCDEFGH</Ustrd></RmtInf></TxDtls></NtryDtls></Ntry>";
    const REVERSAL: &str = "<Ntry><Amt Ccy=\"CNY\">1000.00</Amt><CdtDbtInd>DBIT</CdtDbtInd>\
        <RvslInd>true</RvslInd><BookgDt><Dt>2026-11-24</Dt></BookgDt><AcctSvcrRef>S2</AcctSvcrRef>\
        <NtryDtls><TxDtls><Refs><TxId>S1</TxId></Refs></TxDtls></NtryDtls></Ntry>";

    #[test]
    fn entries_and_reversals_are_read() {
        let lines = read(document(&format!("{CREDIT}{REVERSAL}")).as_bytes()).unwrap();
        assert_eq!((lines[0].fen, lines[0].serial.as_str()), (100_000, "S1"));
        assert_eq!(lines[0].direction, Direction::In);
        assert_eq!(lines[0].reference.as_deref(), Some("WWABCDEFGH"));
        assert_eq!(lines[0].account.as_ref().unwrap().last_four(), "7890");
        assert_eq!(lines[1].direction, Direction::Reversal("S1".to_owned()));
        assert_eq!(lines[1].booked_at.to_rfc3339(), "2026-11-23T16:00:00+00:00");
    }

    #[test]
    fn other_money_other_xml_and_entities_are_refused() {
        let dollars = document(&CREDIT.replace("CNY", "USD"));
        assert_eq!(read(dollars.as_bytes()).unwrap_err().line, 1);
        for other in [
            "",
            "<html/>",
            "<!DOCTYPE a [<!ENTITY b \"c\">]><Document>&b;</Document>",
        ] {
            assert_eq!(read(other.as_bytes()).unwrap_err().line, 0, "{other}");
        }
    }
}
