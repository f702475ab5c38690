//! HTTP/2 by hand: frames as no client of ours would send them.

/// What a client begins with, and its settings, all defaults.
pub fn preface() -> Vec<u8> {
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    bytes
}

/// A frame of HTTP/2 (RFC 9113, section 4.1).
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).expect("a frame").to_be_bytes();
    let mut bytes = length[1..].to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// The head of a call, with further fields; nothing is compressed (RFC 7541, section 6.2.2).
pub fn head(stream: u32, path: &str, fields: &[(&str, &str)]) -> Vec<u8> {
    let fixed = [
        (":method", "POST"),
        (":scheme", "http"),
        (":path", path),
        (":authority", "till"),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ];
    let mut block = Vec::new();
    for (name, value) in fixed.iter().chain(fields) {
        block.push(0);
        text(&mut block, name);
        text(&mut block, value);
    }
    const END_HEADERS: u8 = 4;
    // What does not fit a frame goes on in others.
    let mut parts = block.chunks(16_000).peekable();
    let (mut bytes, mut kind) = (Vec::new(), 1);
    while let Some(part) = parts.next() {
        let flags = if parts.peek().is_none() { END_HEADERS } else { 0 };
        bytes.extend(frame(kind, flags, stream, part));
        kind = 9;
    }
    bytes
}

/// A length in seven bits and more, and the text.
fn text(block: &mut Vec<u8>, text: &str) {
    match text.len() {
        length @ ..127 => block.push(length as u8),
        length => {
            block.push(127);
            let mut rest = length - 127;
            while rest >= 128 {
                block.push((rest % 128 + 128) as u8);
                rest /= 128;
            }
            block.push(rest as u8);
        }
    }
    block.extend(text.bytes());
}

/// A message behind its length, as gRPC sends it.
pub fn message(compressed: bool, content: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::from(compressed)];
    bytes.extend(u32::try_from(content.len()).expect("a message").to_be_bytes());
    bytes.extend(content);
    bytes
}

/// A whole call.
pub fn call(stream: u32, path: &str, content: &[u8]) -> Vec<u8> {
    let mut bytes = head(stream, path, &[]);
    bytes.extend(frame(0, 1, stream, &message(false, content)));
    bytes
}
