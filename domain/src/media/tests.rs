use super::*;
use crate::answer::InvalidAnswer;

fn parse(kind: ModelKind, body: &str) -> Result<MediaRequest<'_>, InvalidRequest> {
    MediaRequest::parse(kind, "application/json", body.as_bytes())
}

#[track_caller]
fn steps(kind: ModelKind, body: &str) -> u64 {
    match parse(kind, body).unwrap().quantity_upper() {
        Quantity::Steps(steps) => steps,
        Quantity::Tokens(usage) => usage.input,
    }
}

#[track_caller]
fn assert_refused(kind: ModelKind, cases: &[(&str, &str)]) {
    for (body, param) in cases {
        let fault = parse(kind, body).unwrap_err();
        assert_eq!(fault.param.as_deref(), Some(*param), "{body}: {fault}");
    }
}

const FORM: &str = "multipart/form-data; boundary=B";

fn form(fields: &[(&str, &str)], file: Option<&str>) -> String {
    let mut body = String::new();
    for (name, value) in fields {
        body += &format!("--B\r\nContent-Disposition: form-data; name=\"{name}\"\r\n\r\n{value}\r\n");
    }
    if let Some(content) = file {
        body += "--B\r\nContent-Disposition: form-data; name=\"file\"; filename=\"a.mp3\"\r\n";
        body += &format!("Content-Type: audio/mpeg\r\n\r\n{content}\r\n");
    }
    body + "--B--\r\n"
}

#[test]
fn kinds_have_names_that_read_back() {
    for kind in ModelKind::ALL {
        assert_eq!(kind.name().parse(), Ok(kind));
        assert_eq!(serde_json::to_string(&kind).unwrap(), format!("\"{}\"", kind.name()));
    }
    assert_eq!("film".parse::<ModelKind>(), Err(UnknownKind));
}

#[test]
fn embeddings_take_texts_and_tokens() {
    let inputs = |body| match parse(ModelKind::Embedding, body).unwrap().task() {
        Task::Embeddings(task) => task.inputs.len(),
        _ => 0,
    };
    assert_eq!(inputs(r#"{"input":"hello"}"#), 1);
    assert_eq!(inputs(r#"{"input":["a","b\u0021"]}"#), 2);
    assert_eq!(inputs(r#"{"input":[1,2,3]}"#), 1);
    assert_eq!(inputs(r#"{"input":[[1,2],[3]],"dimensions":256,"encoding_format":"base64","user":"u"}"#), 2);
    assert_eq!(steps(ModelKind::Embedding, r#"{"input":["abcd",[7,8,9]]}"#), 4 + 2 + 3 + 2);
}

#[test]
fn embeddings_refuse_by_name() {
    let many = format!(r#"{{"input":[{}]}}"#, vec!["\"a\""; 2_049].join(","));
    let long = format!(r#"{{"input":[{}]}}"#, vec!["1"; 8_193].join(","));
    assert_refused(
        ModelKind::Embedding,
        &[
            ("{}", "input"),
            (r#"{"input":null}"#, "input"),
            (r#"{"input":""}"#, "input"),
            (r#"{"input":[]}"#, "input"),
            (r#"{"input":{"a":1}}"#, "input"),
            (r#"{"input":["a",""]}"#, "input[1]"),
            (r#"{"input":["a",5]}"#, "input[1]"),
            (r#"{"input":[[1],[]]}"#, "input[1]"),
            (r#"{"input":[1,-2]}"#, "input"),
            (r#"{"input":[1,"a"]}"#, "input"),
            (&many, "input"),
            (&long, "input"),
            (r#"{"input":"a","dimensions":0}"#, "dimensions"),
            (r#"{"input":"a","dimensions":"many"}"#, "dimensions"),
            (r#"{"input":"a","encoding_format":"hex"}"#, "encoding_format"),
            (r#"{"input":"a","model":""}"#, "model"),
            (r#"{"input":"a","model":7}"#, "model"),
        ],
    );
}

#[test]
fn images_have_defaults_bounds_and_a_weight() {
    let Task::Images(task) = parse(ModelKind::Image, r#"{"prompt":"a cat"}"#).unwrap().task().clone() else { panic!() };
    assert_eq!((task.n, task.size, task.format), (1, (1024, 1024), ImageFormat::Url));
    assert_eq!(steps(ModelKind::Image, r#"{"prompt":"a","n":3}"#), 3);
    assert_eq!(steps(ModelKind::Image, r#"{"prompt":"a","n":2,"quality":"hd","size":"1024x1792"}"#), 6);
    assert_eq!(steps(ModelKind::Image, r#"{"prompt":"a","size":"256x256","style":"vivid"}"#), 1);
    assert_eq!(steps(ModelKind::Image, r#"{"prompt":"a","stream":false,"partial_images":0}"#), 1);
    let long = format!(r#"{{"prompt":"{}"}}"#, "é".repeat(MAX_PROMPT_CHARS + 1));
    assert_refused(
        ModelKind::Image,
        &[
            ("{}", "prompt"),
            (r#"{"prompt":" "}"#, "prompt"),
            (&long, "prompt"),
            (r#"{"prompt":"a","n":0}"#, "n"),
            (r#"{"prompt":"a","n":11}"#, "n"),
            (r#"{"prompt":"a","n":1.5}"#, "n"),
            (r#"{"prompt":"a","size":"big"}"#, "size"),
            (r#"{"prompt":"a","size":"1024x9999"}"#, "size"),
            (r#"{"prompt":"a","size":"+100x100"}"#, "size"),
            (r#"{"prompt":"a","quality":"best"}"#, "quality"),
            (r#"{"prompt":"a","response_format":"png"}"#, "response_format"),
            (r#"{"prompt":"a","style":"baroque"}"#, "style"),
            (r#"{"prompt":"a","stream":true}"#, "stream"),
            (r#"{"prompt":"a","stream":"yes"}"#, "stream"),
            (r#"{"prompt":"a","partial_images":2}"#, "partial_images"),
        ],
    );
}

#[test]
fn speech_has_defaults_and_bounds() {
    let Task::Speech(task) = parse(ModelKind::Speech, r#"{"input":"hé"}"#).unwrap().task().clone() else { panic!() };
    assert_eq!((task.voice.as_ref(), task.format, task.speed_thousandths), ("alloy", SpeechFormat::Mp3, 1_000));
    assert_eq!(task.characters(), 2);
    let full = format!(r#"{{"input":"{}","speed":0.25,"voice":"nova","response_format":"opus"}}"#, "é".repeat(4_096));
    assert_eq!(steps(ModelKind::Speech, &full), 4_096);
    let long = format!(r#"{{"input":"{}"}}"#, "x".repeat(4_097));
    assert_refused(
        ModelKind::Speech,
        &[
            ("{}", "input"),
            (r#"{"input":""}"#, "input"),
            (&long, "input"),
            (r#"{"input":"a","speed":0.2}"#, "speed"),
            (r#"{"input":"a","speed":4.001}"#, "speed"),
            (r#"{"input":"a","speed":"fast"}"#, "speed"),
            (r#"{"input":"a","response_format":"ogg"}"#, "response_format"),
            (r#"{"input":"a","voice":7}"#, "voice"),
            (r#"{"input":"a","voice":""}"#, "voice"),
        ],
    );
}

#[test]
fn transcriptions_are_forms_with_a_file() {
    let body = form(
        &[("model", "whisper-1"), ("language", "de"), ("temperature", "0.2"), ("response_format", "vtt")],
        Some("xx"),
    );
    let request = MediaRequest::parse(ModelKind::Transcription, FORM, body.as_bytes()).unwrap();
    let Task::Transcription(task) = request.task() else { panic!() };
    assert_eq!(
        (request.model(), task.format, task.file.content_type),
        ("whisper-1", TranscriptFormat::Vtt, "audio/mpeg")
    );
    assert_eq!(request.quantity_upper(), Quantity::Steps(1));
    let upstream = String::from_utf8(request.with_model("w")).unwrap();
    assert_eq!(upstream, body.replace("whisper-1", "w"));
    for (fields, file, param) in [
        (&[("model", "a")][..], None, Some("file")),
        (&[("file", "text")], None, Some("file")),
        (&[], Some(""), Some("file")),
        (&[("language", "german")], Some("x"), Some("language")),
        (&[("language", "DE")], Some("x"), Some("language")),
        (&[("temperature", "1.1")], Some("x"), Some("temperature")),
        (&[("response_format", "xml")], Some("x"), Some("response_format")),
        (&[("stream", "true")], Some("x"), Some("stream")),
        (&[("model", "a"), ("model", "b")], Some("x"), Some("model")),
    ] {
        let body = form(fields, file);
        let fault = MediaRequest::parse(ModelKind::Transcription, FORM, body.as_bytes()).unwrap_err();
        assert_eq!(fault.param.as_deref(), param, "{body}");
    }
    assert!(MediaRequest::parse(ModelKind::Transcription, "application/json", b"{}").unwrap_err().param.is_none());
    assert!(MediaRequest::parse(ModelKind::Image, FORM, form(&[("prompt", "a")], None).as_bytes()).is_err());
}

#[test]
fn videos_come_as_json_and_as_forms() {
    let Task::Video(task) = parse(ModelKind::Video, r#"{"prompt":"waves"}"#).unwrap().task().clone() else { panic!() };
    assert_eq!((task.seconds, task.size, task.fps), (5, (1280, 720), 24));
    let body = form(&[("prompt", "waves"), ("seconds", "8"), ("size", "720x1280")], None);
    let request = MediaRequest::parse(ModelKind::Video, FORM, body.as_bytes()).unwrap();
    let Task::Video(task) = request.task() else { panic!() };
    assert_eq!((task.seconds, task.size, request.model()), (8, (720, 1280), "auto"));
    let Task::Video(tall) = parse(ModelKind::Video, r#"{"prompt":"a","aspect_ratio":"9:16"}"#).unwrap().task().clone()
    else {
        panic!()
    };
    assert_eq!(tall.size, (720, 1280));
    assert_refused(
        ModelKind::Video,
        &[
            ("{}", "prompt"),
            (r#"{"prompt":"a","duration":0}"#, "duration"),
            (r#"{"prompt":"a","duration":61}"#, "duration"),
            (r#"{"prompt":"a","duration":5,"seconds":"8"}"#, "seconds"),
            (r#"{"prompt":"a","fps":0}"#, "fps"),
            (r#"{"prompt":"a","aspect_ratio":"100:1"}"#, "aspect_ratio"),
            (r#"{"prompt":"a","aspect_ratio":"wide"}"#, "aspect_ratio"),
            (r#"{"prompt":"a","size":"1x1"}"#, "size"),
        ],
    );
}

#[test]
fn a_video_is_always_told_its_length() {
    let sent =
        |body: &str, model: &str| String::from_utf8(parse(ModelKind::Video, body).unwrap().with_model(model)).unwrap();
    assert_eq!(sent(r#"{"prompt":"a","x": [1]}"#, "v"), r#"{"model":"v","seconds":"5","prompt":"a","x":[1]}"#);
    assert_eq!(sent(r#"{"prompt":"a","duration":8,"model":"m"}"#, "v"), r#"{"model":"v","seconds":"8","prompt":"a"}"#);
    assert_eq!(sent(r#"{"prompt":"a"}"#, "sora-2"), r#"{"model":"sora-2","seconds":"4","prompt":"a"}"#);
    let said = r#"{"seconds":"8", "prompt":"a","model":"v"}"#;
    assert_eq!(sent(said, "v"), said);
    for (fields, length) in [(&[("prompt", "a"), ("model", "m")][..], "5"), (&[("prompt", "a"), ("seconds", "8")], "8")]
    {
        let body = form(fields, None);
        let request = MediaRequest::parse(ModelKind::Video, FORM, body.as_bytes()).unwrap();
        let sent = request.with_model("v");
        let sent = MediaRequest::parse(ModelKind::Video, FORM, &sent).unwrap();
        assert_eq!((sent.fields.text("seconds").unwrap().as_deref(), sent.model()), (Some(length), "v"));
    }
}

#[test]
fn answers_get_the_asked_model_back() {
    let body =
        br#"{"object":"list","data":[{"embedding":[0.5]}],"model":"up","usage":{"prompt_tokens":4,"total_tokens":4}}"#;
    let answer = read_answer(body, "auto").unwrap();
    assert_eq!(String::from_utf8(answer.body).unwrap(), String::from_utf8_lossy(body).replace("\"up\"", "\"auto\""));
    assert_eq!((answer.usage, answer.items), (Some(TokenUsage { input: 4, ..TokenUsage::default() }), 1));
    let images = br#"{"created":1,"data":[{"url":"x"},{"url":"y"}]}"#;
    let answer = read_answer(images, "auto").unwrap();
    assert_eq!((answer.body.as_slice(), answer.items), (images.as_slice(), 2), "no model is put in");
}

#[test]
fn seconds_are_read_and_rounded_up() {
    let seconds = |body: &str| read_answer(body.as_bytes(), "auto").unwrap().seconds;
    assert_eq!(seconds(r#"{"text":"a","usage":{"type":"duration","seconds":3}}"#), Some(3));
    assert_eq!(seconds(r#"{"text":"a","duration":8.470000267028809}"#), Some(9));
    assert_eq!(seconds(r#"{"text":"a","duration":"2.5"}"#), Some(3));
    assert_eq!(seconds(r#"{"text":""}"#), None);
    assert_eq!(seconds(r#"{"text":"a","duration":-1}"#), None);
    assert_eq!(seconds(r#"{"text":"a","duration":1e300}"#), None);
}

#[test]
fn answers_without_content_are_refused() {
    assert!(matches!(read_answer(b"<html>", "a"), Err(InvalidAnswer::NotJson(_))));
    assert_eq!(read_answer(b"[]", "a"), Err(InvalidAnswer::NotAnObject));
    assert_eq!(read_answer(br#"{"error":{"message":"x"}}"#, "a"), Err(InvalidAnswer::UpstreamError));
    assert_eq!(read_answer(br#"{"data":[]}"#, "a"), Err(InvalidAnswer::Empty));
}

#[test]
fn videos_of_upstreams_are_read() {
    let video = read_video(br#"{"id":"video_1","object":"video","status":"in_progress","progress":33,"seconds":"8"}"#);
    let video = video.unwrap();
    assert_eq!((video.state, video.progress, video.seconds), (VideoState::Processing, Some(33), Some(8)));
    let failed = read_video(br#"{"id":"v","status":"failed","error":{"code":"x","message":"moderation"}}"#).unwrap();
    assert_eq!(failed.state, VideoState::Failed("moderation".to_owned()));
    let done = read_video(br#"{"id":"v","status":"succeeded","url":"https://cdn.example/v.mp4"}"#).unwrap();
    assert_eq!((done.state, done.url.as_deref()), (VideoState::Completed, Some("https://cdn.example/v.mp4")));
    for body in
        ["", "[]", "{}", r#"{"id":"v","status":"odd"}"#, r#"{"status":"queued"}"#, r#"{"error":{"message":"x"}}"#]
    {
        assert!(read_video(body.as_bytes()).is_err(), "{body}");
    }
}
