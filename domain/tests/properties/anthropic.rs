//! Translations lose nothing that both sides know, whatever the text and wherever it was cut.

use guildhall_domain::anthropic::{
    ChatToMessagesStream, MessagesToChatStream, Takes, drop_extensions, to_chat_completion, to_chat_request,
    to_message, to_messages_request,
};
use guildhall_domain::chat::request::ChatRequest;
use guildhall_domain::chat::stream::{MAX_LINE_BYTES, StreamEnd, StreamFault, StreamRewriter};
use proptest::prelude::*;
use serde_json::json;

use crate::anthropic_values::{MODEL, accumulate, message, messages_request, parse, stream_of};
use crate::json_values::value;

fn cut<'b>(bytes: &'b [u8], cuts: &[prop::sample::Index]) -> Vec<&'b [u8]> {
    let mut ends: Vec<usize> = cuts.iter().map(|cut| cut.index(bytes.len() + 1)).collect();
    ends.sort_unstable();
    ends.push(bytes.len());
    let mut start = 0;
    ends.into_iter().map(|end| &bytes[std::mem::replace(&mut start, end)..end]).collect()
}

fn run_to_chat<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> (Vec<u8>, Result<(), StreamFault>) {
    let mut stream = MessagesToChatStream::new("auto", 1, true);
    let mut out = Vec::new();
    let result = chunks.into_iter().try_for_each(|chunk| stream.push(chunk, &mut out));
    let result = result.and_then(|()| stream.finish(&mut out));
    (out, result)
}

fn run_to_messages<'c>(chunks: impl IntoIterator<Item = &'c [u8]>) -> Vec<u8> {
    let mut stream = ChatToMessagesStream::new("auto", "msg_01".to_owned());
    let mut out = Vec::new();
    chunks.into_iter().for_each(|chunk| stream.push(chunk, &mut out));
    stream.finish(&mut out);
    out
}

proptest! {
    // A case is a whole conversation.
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn a_messages_request_survives_the_way_through_chat(request in messages_request()) {
        let text = request.to_string();
        let chat = to_chat_request(text.as_bytes()).unwrap();
        prop_assert!(ChatRequest::parse(&chat).is_ok());
        let back = to_messages_request(&chat, MODEL, 1).unwrap();
        prop_assert_eq!(parse(&back), parse(text.as_bytes()));
        // And again: chat, Messages, chat.
        prop_assert_eq!(parse(&to_chat_request(&back).unwrap()), parse(&chat));
    }

    #[test]
    fn without_the_extensions_a_request_is_openais(request in messages_request()) {
        let chat = to_chat_request(request.to_string().as_bytes()).unwrap();
        let plain = drop_extensions(&chat, Takes::default()).unwrap();
        prop_assert!(ChatRequest::parse(&plain).is_ok());
        prop_assert_eq!(drop_extensions(&plain, Takes::default()).unwrap(), plain.clone());
        for message in parse(&plain)["messages"].as_array().unwrap() {
            let known = ["role", "content", "tool_calls", "tool_call_id"];
            prop_assert!(message.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())));
            for part in message["content"].as_array().into_iter().flatten() {
                prop_assert!(part.as_object().unwrap().keys().all(|key| ["type", "text", "image_url", "file"].contains(&key.as_str())));
            }
        }
    }

    #[test]
    fn an_answer_survives_the_way_through_chat(message in message()) {
        let text = message.to_string();
        let completion = to_chat_completion(text.as_bytes(), "auto", 1).unwrap();
        prop_assert_eq!(parse(&to_message(&completion, "auto", "msg_01").unwrap()), parse(text.as_bytes()));
    }

    #[test]
    fn a_streamed_answer_is_the_whole_one(
        message in message(),
        piece_chars in 1..9_usize,
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        has_pings: bool,
    ) {
        let stream = stream_of(&message, piece_chars, line_end, has_pings);
        let (chat, result) = run_to_chat([stream.as_bytes()]);
        prop_assert_eq!(result, Ok(()));
        let mut rewriter = StreamRewriter::new("auto", false);
        let mut house = Vec::new();
        rewriter.push(&chat, &mut house).unwrap();
        rewriter.finish(StreamEnd::Eof, &mut house);
        prop_assert!(rewriter.saw_done());
        let events = String::from_utf8(run_to_messages([house.as_slice()])).unwrap();
        let has_end = events.ends_with("event: message_stop\ndata: {\"type\":\"message_stop\"}\n\n");
        prop_assert!(has_end);
        prop_assert_eq!(accumulate(&events), parse(message.to_string().as_bytes()));
    }

    #[test]
    fn cuts_change_nothing(
        message in message(),
        line_end in prop::sample::select(vec!["\n", "\r\n", "\r"]),
        broken in prop::option::of((any::<prop::sample::Index>(), any::<u8>())),
        cuts in prop::collection::vec(any::<prop::sample::Index>(), 0..12),
    ) {
        let mut stream = stream_of(&message, 7, line_end, true).into_bytes();
        if let Some((at, byte)) = broken {
            let at = at.index(stream.len());
            stream[at] = byte;
        }
        let whole = run_to_chat([stream.as_slice()]);
        prop_assert_eq!(&run_to_chat(cut(&stream, &cuts)), &whole);
        prop_assert_eq!(&run_to_chat(stream.chunks(1)), &whole);
        let events = run_to_messages([whole.0.as_slice()]);
        prop_assert_eq!(&run_to_messages(cut(&whole.0, &cuts)), &events);
        prop_assert_eq!(&run_to_messages(whole.0.chunks(1)), &events);
    }

    #[test]
    fn an_end_that_is_cut_off_is_no_end(message in message(), at in any::<prop::sample::Index>()) {
        let stream = stream_of(&message, 7, "\n", false);
        // All but the last object whole.
        let end = at.index(stream.rfind("data: ").unwrap());
        let (chat, result) = run_to_chat([&stream.as_bytes()[..end]]);
        prop_assert_eq!(result, Ok(()));
        // In a text the line feeds would be escaped.
        prop_assert!(!String::from_utf8_lossy(&chat).contains("[DONE]\n\n"));
        let events = String::from_utf8(run_to_messages([chat.as_slice()])).unwrap();
        prop_assert_eq!(events.matches("event: error\n").count(), 1);
        prop_assert!(!events.contains("event: message_stop\n"));
    }

    #[test]
    fn no_bytes_make_it_panic(
        value in value(),
        bytes in prop::collection::vec(any::<u8>(), 0..48),
        request in messages_request(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut damaged = request.to_string().into_bytes();
        for (at, byte) in damage {
            let at = at.index(damaged.len());
            damaged[at] = b"{}[],:\"\\0-.eE+nt \n"[usize::from(byte) % 18];
        }
        let texts = [bytes, damaged, value.to_string().into_bytes(),
            json!({"messages": value, "model": "m", "max_tokens": 1}).to_string().into_bytes(),
            json!({"messages": [{"role": "assistant", "content": value, "tool_calls": value, "reasoning_details": value}]})
                .to_string().into_bytes(),
            json!({"choices": [{"message": {"content": value, "tool_calls": value}}], "usage": value}).to_string().into_bytes(),
            json!({"content": [value], "usage": value}).to_string().into_bytes()];
        for text in &texts {
            let _ = to_messages_request(text, MODEL, 1);
            let _ = to_chat_request(text);
            let _ = to_chat_completion(text, "m", 1);
            let _ = to_message(text, "m", "msg_01");
            let _ = drop_extensions(text, Takes::default());
            let line = [b"data: ", text.as_slice(), b"\n\n"].concat();
            let _ = run_to_chat([line.as_slice()]);
            run_to_messages([line.as_slice()]);
        }
    }
}

#[test]
fn a_stream_is_forwarded_not_kept() {
    let mut stream = MessagesToChatStream::new("auto", 1, true);
    let start = b"data: {\"type\":\"content_block_start\",\"index\":0,\"content_block\":{\"type\":\"text\"}}\n\n";
    let text = "x".repeat(1 << 16);
    let event = json!({"type": "content_block_delta", "index": 0, "delta": {"type": "text_delta", "text": text}});
    let line = format!("data: {event}\n\n");
    let mut out = Vec::new();
    stream.push(start, &mut out).unwrap();
    for _ in 0..100 {
        out.clear();
        stream.push(line.as_bytes(), &mut out).unwrap();
        // All of it leaves at once.
        assert!(out.len() > text.len());
    }
    // Neither does a line without an end pile up.
    let endless = vec![b'x'; MAX_LINE_BYTES / 4 + 1];
    let faults: Vec<bool> = (0..5).map(|_| stream.push(&endless, &mut out).is_err()).collect();
    assert_eq!(faults, [false, false, false, true, true]);
    let mut client = ChatToMessagesStream::new("auto", "msg_01".to_owned());
    out.clear();
    for _ in 0..9 {
        client.push(&endless, &mut out);
    }
    assert!(client.has_ended() && out.starts_with(b"event: error\n"));
}
