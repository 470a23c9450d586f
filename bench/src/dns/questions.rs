//! Questions as a client sends them: one record type, RD set, EDNS with 1232 bytes.

/// A question for `A`, with the ID 0.
///
/// # Panics
/// When a label of `name` is longer than 63 bytes.
#[must_use]
pub fn question(name: &str, dnssec_ok: bool) -> Vec<u8> {
    let mut packet = vec![0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
    for label in name.trim_end_matches('.').split('.') {
        let length = u8::try_from(label.len()).expect("a label is at most 63 bytes long");
        packet.push(length);
        packet.extend_from_slice(label.as_bytes());
    }
    packet.extend_from_slice(&[0, 0, 1, 0, 1]);
    let flags = if dnssec_ok { 0x80 } else { 0 };
    packet.extend_from_slice(&[0, 0, 41, 0x04, 0xd0, 0, 0, flags, 0, 0, 0]);
    packet
}

/// A server's answer to such a question: one address, for a day.
///
/// # Panics
/// When `question` is none of [`question`].
#[must_use]
pub fn answer(question: &[u8]) -> Vec<u8> {
    let mut packet = question.to_vec();
    // QR, RD, RA; one record of answer, before the OPT.
    packet[2..4].copy_from_slice(&[0x81, 0x80]);
    packet[7] = 1;
    let opt = packet.split_off(packet.len() - OPT_LEN);
    packet.extend_from_slice(&[0xc0, 12, 0, 1, 0, 1, 0, 1, 0x51, 0x80, 0, 4, 198, 18, 0, 1]);
    packet.extend_from_slice(&opt);
    packet
}

/// The response code of an answer to a question with that ID, and whether AD is set; nothing when it is no
/// such answer.
#[must_use]
pub fn outcome(answer: &[u8], id: u16) -> Option<(u8, bool)> {
    let header = answer.first_chunk::<12>()?;
    let is_answer = header[..2] == id.to_be_bytes() && header[2] & 0x80 != 0;
    is_answer.then_some((header[3] & 0x0f, header[3] & 0x20 != 0))
}

/// Bytes of an OPT record without options.
const OPT_LEN: usize = 11;
