use std::io::Read;

use brotli_decompressor::Decompressor;
use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder, ZlibDecoder};
use http::header::CONTENT_ENCODING;
use http::{HeaderMap, StatusCode};
use ruzstd::decoding::StreamingDecoder;

use super::body::too_large;
use crate::flow::Refusal;

/// No text of a conversation shrinks further; what does is made to fill memory.
const LARGEST_RATIO: u64 = 20;
/// So many decoded bytes fill nobody's memory, whatever they came from.
const ALWAYS_TAKEN: u64 = 64 << 10;
/// Larger bodies, as they came, are decoded beside the tasks that wait for the network.
const LARGEST_AT_ONCE: usize = 16 << 10;
/// What HTTP allows a sender of `zstd` to refer back to.
const ZSTD_WINDOW: u64 = 8 << 20;
const BROTLI_BUFFER: usize = 4 << 10;

/// How a body came compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// What `content-encoding` says; nothing where the body comes as it is.
    pub(super) fn of(headers: &HeaderMap) -> Result<Option<Self>, Refusal> {
        let mut told = headers.get_all(CONTENT_ENCODING).iter();
        let Some(first) = told.next() else { return Ok(None) };
        let word = first.to_str().unwrap_or_default().trim_ascii().to_ascii_lowercase();
        let coding = match word.as_str() {
            "identity" => Some(None),
            "gzip" | "x-gzip" => Some(Some(Self::Gzip)),
            "deflate" => Some(Some(Self::Deflate)),
            "br" => Some(Some(Self::Brotli)),
            "zstd" => Some(Some(Self::Zstd)),
            _ => None,
        };
        coding.filter(|_| told.next().is_none()).ok_or_else(|| {
            let word = String::from_utf8_lossy(first.as_bytes()).escape_default().to_string();
            let message = format!("content-encoding `{word}` is not taken, send one of gzip, br, zstd, deflate, or the body as it is");
            Refusal::bad_request("unsupported_encoding", None, message).with_status(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        })
    }

    /// The body as it was before it was compressed, within `limit` bytes and in a sound ratio to what came.
    pub(super) async fn decode(self, body: Bytes, limit: u64) -> Result<Bytes, Refusal> {
        if body.len() <= LARGEST_AT_ONCE {
            return self.decode_now(&body, limit);
        }
        let decoded = tokio::task::spawn_blocking(move || self.decode_now(&body, limit)).await;
        decoded.unwrap_or_else(|_| Err(Refusal::internal()))
    }

    fn decode_now(self, body: &[u8], limit: u64) -> Result<Bytes, Refusal> {
        let by_ratio = (body.len() as u64).saturating_mul(LARGEST_RATIO).max(ALWAYS_TAKEN);
        let most = limit.min(by_ratio);
        let mut decoded = Vec::with_capacity(usize::try_from(most.min(body.len() as u64 * 4)).unwrap_or_default());
        let read = match self {
            Self::Gzip => read_within(MultiGzDecoder::new(body), most, &mut decoded),
            // The standard's `deflate` has a frame around it, and many senders leave it out.
            Self::Deflate if has_zlib_frame(body) => read_within(ZlibDecoder::new(body), most, &mut decoded),
            Self::Deflate => read_within(DeflateDecoder::new(body), most, &mut decoded),
            Self::Brotli if has_large_window(body) => Err(()),
            Self::Brotli => read_within(Decompressor::new(body, BROTLI_BUFFER), most, &mut decoded),
            Self::Zstd => read_frames(body, most, &mut decoded),
        };
        read.map_err(|()| self.broken())?;
        if decoded.len() as u64 <= most {
            return Ok(decoded.into());
        }
        Err(if most == limit { too_large(limit) } else { inflated() })
    }

    fn broken(self) -> Refusal {
        let coding = match self {
            Self::Gzip => "gzip",
            Self::Deflate => "deflate",
            Self::Brotli => "br",
            Self::Zstd => "zstd",
        };
        Refusal::bad_request("bad_framing", None, format!("the request's body is not the `{coding}` that its content-encoding says"))
    }
}

/// Reads to the end, or to one byte more than there may be.
fn read_within(decoder: impl Read, most: u64, into: &mut Vec<u8>) -> Result<(), ()> {
    let left = (most + 1).saturating_sub(into.len() as u64);
    decoder.take(left).read_to_end(into).map(drop).map_err(drop)
}

/// One frame of `zstd` after the other.
fn read_frames(mut body: &[u8], most: u64, into: &mut Vec<u8>) -> Result<(), ()> {
    loop {
        let mut frame = StreamingDecoder::new_with_max_window_size(&mut body, ZSTD_WINDOW).map_err(drop)?;
        read_within(&mut frame, most, into)?;
        if into.len() as u64 > most {
            return Ok(());
        }
        let sums = (frame.decoder.get_checksum_from_data(), frame.decoder.get_calculated_checksum());
        if matches!(sums, (Some(told), Some(found)) if told != found) {
            return Err(());
        }
        drop(frame);
        if body.is_empty() {
            return Ok(());
        }
    }
}

/// The two bytes with which a frame of zlib begins: the method, and a number that makes both divisible by 31.
fn has_zlib_frame(body: &[u8]) -> bool {
    matches!(body, [first, second, ..] if first & 0x0f == 8 && u16::from_be_bytes([*first, *second]).is_multiple_of(31))
}

/// How brotli's extension of windows to a gigabyte begins, which HTTP does not know.
fn has_large_window(body: &[u8]) -> bool {
    body.first().is_some_and(|first| first & 0x7f == 0x11)
}

fn inflated() -> Refusal {
    let message = format!("the request's body grows to more than {LARGEST_RATIO} times of what came");
    Refusal::bad_request("request_too_large", None, message).with_status(StatusCode::PAYLOAD_TOO_LARGE)
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use flate2::Compression;
    use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};
    use proptest::prelude::*;
    use ruzstd::encoding::{CompressionLevel, compress_to_vec};

    use super::*;

    const LIMIT: u64 = 1 << 20;
    /// `{"model":"gpt-4o","input":"Grüße"}`
    const BROTLI: &str = "ixGAeyJtb2RlbCI6ImdwdC00byIsImlucHV0IjoiR3LDvMOfZSJ9Aw==";
    /// Half a megabyte of spaces.
    const BROTLI_BOMB: &str = "W///h18CJB4LBHLvDwA=";

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zlib(text: &[u8]) -> Vec<u8> {
        let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn bare(text: &[u8]) -> Vec<u8> {
        let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(text: &[u8]) -> Vec<u8> {
        compress_to_vec(text, CompressionLevel::Fastest)
    }

    type Write = fn(&[u8]) -> Vec<u8>;

    /// Everything that can be written here, and how it is told.
    const WRITERS: [(Coding, Write); 4] = [(Coding::Gzip, gzip), (Coding::Deflate, zlib), (Coding::Deflate, bare), (Coding::Zstd, zstd)];

    fn code(decoded: Result<Bytes, Refusal>) -> (u16, &'static str) {
        decoded.map_or_else(|refusal| (refusal.status.as_u16(), refusal.code), |_| (200, "ok"))
    }

    proptest! {
        #[test]
        fn k22_what_was_compressed_comes_back(text in proptest::collection::vec(any::<u8>(), 0..5_000)) {
            for (coding, write) in WRITERS {
                prop_assert_eq!(coding.decode_now(&write(&text), LIMIT).unwrap(), text.clone());
            }
        }

        #[test]
        fn k22_no_bytes_make_a_decoder_fail_otherwise_than_by_saying_so(bytes in proptest::collection::vec(any::<u8>(), 0..500)) {
            for coding in [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd] {
                let (status, _) = code(coding.decode_now(&bytes, LIMIT));
                prop_assert!([200, 400, 413].contains(&status));
            }
        }
    }

    #[test]
    fn k22_brotli_is_read() {
        let body = STANDARD.decode(BROTLI).unwrap();
        assert_eq!(Coding::Brotli.decode_now(&body, LIMIT).unwrap(), "{\"model\":\"gpt-4o\",\"input\":\"Grüße\"}");
    }

    #[test]
    fn k22_what_grows_too_much_is_refused() {
        let spaces = vec![b' '; 512 << 10];
        for (coding, write) in WRITERS {
            assert_eq!(code(coding.decode_now(&write(&spaces), LIMIT)), (413, "request_too_large"), "{coding:?}");
            // Little in all is no harm, however small it came.
            assert_eq!(coding.decode_now(&write(&spaces[..50_000]), LIMIT).unwrap().len(), 50_000, "{coding:?}");
            assert_eq!(code(coding.decode_now(&write(&spaces[..50_000]), 49_999)), (413, "request_too_large"), "{coding:?}");
            assert_eq!(code(coding.decode_now(&write(&spaces[..50_000]), 50_000)), (200, "ok"), "{coding:?}");
        }
        let bomb = STANDARD.decode(BROTLI_BOMB).unwrap();
        assert_eq!(code(Coding::Brotli.decode_now(&bomb, LIMIT)), (413, "request_too_large"));
        // Thirty bits of window, which no decoder is to make room for.
        assert_eq!(code(Coding::Brotli.decode_now(&[0x11, 0x1e, 0x03], LIMIT)), (400, "bad_framing"));
    }

    #[test]
    fn k22_what_is_cut_or_spoilt_is_refused() {
        let text: Vec<u8> = (0..2_000_u32).flat_map(u32::to_le_bytes).collect();
        for (coding, write) in WRITERS {
            let body = write(&text);
            for end in [0, 1, body.len() / 2, body.len() - 1] {
                assert_eq!(code(coding.decode_now(&body[..end], LIMIT)), (400, "bad_framing"), "{coding:?} cut at {end}");
            }
        }
        let body = STANDARD.decode(BROTLI).unwrap();
        assert_eq!(code(Coding::Brotli.decode_now(&body[..body.len() - 3], LIMIT)), (400, "bad_framing"));
        let mut spoilt = zstd(b"a text with its sum behind it");
        *spoilt.last_mut().unwrap() ^= 1;
        assert_eq!(code(Coding::Zstd.decode_now(&spoilt, LIMIT)), (400, "bad_framing"));
    }

    #[test]
    fn k22_frames_and_members_follow_each_other() {
        assert_eq!(Coding::Zstd.decode_now(&[zstd(b"one "), zstd(b"two")].concat(), LIMIT).unwrap(), "one two");
        assert_eq!(Coding::Gzip.decode_now(&[gzip(b"one "), gzip(b"two")].concat(), LIMIT).unwrap(), "one two");
    }

    #[test]
    fn k22_one_coding_at_a_time_is_known() {
        let of = |values: &[&'static str]| {
            let headers = values.iter().map(|value| (CONTENT_ENCODING, http::HeaderValue::from_static(value))).collect();
            Coding::of(&headers).map_err(|refusal| (refusal.status.as_u16(), refusal.code))
        };
        assert_eq!(of(&[]), Ok(None));
        for (value, coding) in [
            ("identity", None),
            ("GZip", Some(Coding::Gzip)),
            ("x-gzip", Some(Coding::Gzip)),
            ("deflate", Some(Coding::Deflate)),
            (" br", Some(Coding::Brotli)),
            ("zstd", Some(Coding::Zstd)),
        ] {
            assert_eq!(of(&[value]), Ok(coding), "{value}");
        }
        for values in [&["compress"][..], &["gzip, br"], &["gzip", "gzip"], &[""], &["identity", "br"]] {
            assert_eq!(of(values), Err((415, "unsupported_encoding")), "{values:?}");
        }
    }
}
