use super::*;

const NONCE: u64 = 77;

/// All events, and the error that ended them.
fn events(reader: &mut Reader, mut input: &[u8]) -> (Vec<String>, Error) {
    let mut events = Vec::new();
    loop {
        match reader.next(&mut input) {
            Ok(event) => events.push(text(&event)),
            Err(error) => return (events, error),
        }
    }
}

fn text(event: &Event<'_>) -> String {
    let lossy = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match event {
        Event::Head(head) => {
            let headers = head
                .headers
                .clone()
                .map(|(name, value)| lossy(name) + "=" + &lossy(value));
            let headers = headers.collect::<Vec<_>>().join(",");
            format!("Head {} {} {headers}", head.status, lossy(head.reason))
        }
        Event::Data(data) => format!("Data {}", lossy(data)),
        Event::Log(level, site, text) => format!("Log {level:?} {}:{} {}", lossy(site.file), site.line, lossy(text)),
        other => format!("{other:?}"),
    }
}

fn put_head(out: &mut Vec<u8>) {
    let headers: [(&[u8], &[u8]); 2] = [(b"A", b"1"), (b"Set-Cookie", b"")];
    head(NONCE, 200, b"OK", headers, out).unwrap();
}

fn put_data(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend(data(NONCE, bytes.len()));
    out.extend(bytes);
}

fn whole_reply() -> Vec<u8> {
    let mut out = Vec::new();
    out.extend(bare(Kind::Started, NONCE));
    let site = Site {
        file: b"shop.py",
        line: 70_000,
    };
    log(NONCE, Level::Warning, site, b"slow", &mut out);
    out.extend(bare(Kind::WantBody, NONCE));
    put_head(&mut out);
    put_data(&mut out, b"hello");
    out.extend(file(NONCE, 5, 7));
    out.extend(piped(NONCE, MAX_PIPED));
    put_data(&mut out, b"!");
    log(NONCE, Level::Error, Site::NONE, b"", &mut out);
    out.extend(bare(Kind::End, NONCE));
    out
}

#[test]
fn a_whole_reply() {
    let (seen, error) = events(&mut Reader::new(NONCE, true), &whole_reply());
    let expected = [
        "Started",
        "Log Warning shop.py:70000 slow",
        "WantBody",
        "Head 200 OK A=1,Set-Cookie=",
        "Data hello",
        "File { offset: 5, length: 7 }",
        "Piped(1048576)",
        "Data !",
        "Log Error :0 ",
        "End(Complete)",
    ];
    assert_eq!(seen, expected);
    assert_eq!(error, Error::Incomplete);
}

#[test]
fn any_cut_gives_the_same_events() {
    let input = whole_reply();
    let (all, _) = events(&mut Reader::new(NONCE, true), &input);
    for cut in 0..=input.len() {
        let mut reader = Reader::new(NONCE, true);
        let mut first = &input[..cut];
        let mut seen = Vec::new();
        let error = loop {
            match reader.next(&mut first) {
                Ok(event) => seen.push(text(&event)),
                Err(error) => break error,
            }
        };
        assert_eq!(error, Error::Incomplete, "cut at {cut}");
        assert!(reader.needed(first) > first.len(), "cut at {cut}");
        assert!(reader.needed(first) <= HEADER + MAX_REPLY_HEAD, "cut at {cut}");
        let rest = [first, &input[cut..]].concat();
        let (more, error) = events(&mut reader, &rest);
        assert_eq!(error, Error::Incomplete, "cut at {cut}");
        // A piece of data may be cut in two.
        let joined = [seen, more].concat().join("|").replace("|Data ", "");
        assert_eq!(joined, all.join("|").replace("|Data ", ""), "cut at {cut}");
    }
}

#[test]
fn endings() {
    let refused_500 = refused(NONCE, 500);
    let cases: &[(&[u8], &str)] = &[
        (&refused_500, "End(Refused(500))"),
        (&bare(Kind::Retry, NONCE), "End(Retry)"),
    ];
    for (input, expected) in cases {
        let mut reader = Reader::new(NONCE, false);
        assert_eq!(
            events(&mut reader, input),
            (vec![(*expected).to_owned()], Error::Incomplete)
        );
        assert!(
            reader
                .next(&mut &input[..])
                .is_err_and(|error| error != Error::Incomplete)
        );
    }
    let mut out = Vec::new();
    put_head(&mut out);
    out.extend(bare(Kind::Truncated, NONCE));
    let (seen, _) = events(&mut Reader::new(NONCE, false), &out);
    assert_eq!(seen.last().map(String::as_str), Some("End(Truncated)"));
}

#[test]
fn out_of_order() {
    let mut headed = Vec::new();
    put_head(&mut headed);
    let with_head = |frame: &[u8]| [&headed[..], frame].concat();
    let started = bare(Kind::Started, NONCE);
    let mut datum = Vec::new();
    put_data(&mut datum, b"x");
    let end = bare(Kind::End, NONCE);
    let cases: Vec<(Vec<u8>, &str)> = vec![
        (datum, "reply without a head"),
        (file(NONCE, 0, 1).to_vec(), "reply without a head"),
        (end.to_vec(), "reply without a head"),
        (bare(Kind::Truncated, NONCE).to_vec(), "reply without a head"),
        (with_head(&headed), "a second head"),
        (with_head(&refused(NONCE, 500)), "refused after the head"),
        (
            with_head(&bare(Kind::Retry, NONCE)),
            "retry of a request that has begun",
        ),
        (with_head(&started), "started twice"),
        ([started, started].concat(), "started twice"),
        (
            [started, bare(Kind::Retry, NONCE)].concat(),
            "retry of a request that has begun",
        ),
        (
            bare(Kind::WantBody, NONCE).to_vec(),
            "asks for a body that is not there",
        ),
        (refused(NONCE, 200).to_vec(), "refused with a status that is no error"),
        (with_head(&file(NONCE, u64::MAX, 1)), "part of a file out of bounds"),
        (
            with_head(&file(NONCE, 1, i64::MAX as u64)),
            "part of a file out of bounds",
        ),
        (with_head(&[end, end].concat()), "frame after the end"),
        (bare(Kind::Started, NONCE + 1).to_vec(), "frame of another request"),
        (vec![0x42; HEADER], "unknown kind of frame"),
        (
            Frame::encode(Kind::Data, 0, NONCE).to_vec(),
            "length of a frame is out of bounds",
        ),
    ];
    for (input, expected) in cases {
        let (_, error) = events(&mut Reader::new(NONCE, false), &input);
        assert_eq!(error, Error::Invalid(expected), "{input:?}");
    }
    let mut reader = Reader::new(NONCE, true);
    let twice = [bare(Kind::WantBody, NONCE); 2].concat();
    assert_eq!(
        events(&mut reader, &twice),
        (
            vec!["WantBody".into()],
            Error::Invalid("asks for a body that is not there")
        )
    );
    assert!(reader.begun());
}

#[test]
fn heads() {
    let mut out = vec![9];
    head(NONCE, 404, b"", [], &mut out).unwrap();
    assert_eq!(out.len(), 1 + HEADER + 6);
    let (seen, _) = events(&mut Reader::new(NONCE, false), &out[1..]);
    assert_eq!(seen, ["Head 404  "]);

    let large = vec![b'x'; MAX_REPLY_HEAD];
    let pair: (&[u8], &[u8]) = (b"A", &large);
    assert!(head(NONCE, 200, b"", [pair], &mut out).is_err());
    let pair: (&[u8], &[u8]) = (b"A", b"");
    assert!(head(NONCE, 200, b"", vec![pair; MAX_REPLY_FIELDS + 1], &mut out).is_err());
    assert_eq!(out.len(), 1 + HEADER + 6, "what does not fit leaves nothing behind");

    // Contents that are not a head, whatever their length says.
    for contents in [
        &[200, 0, 0, 0, 0, 0, 0][..],
        &[200, 0, 1, 0, 0, 0],
        &[200, 0, 0, 0, 1, 0],
        &[199, 0, 0, 0, 0, 0],
    ] {
        let mut input = Frame::encode(Kind::Head, contents.len(), NONCE).to_vec();
        input.extend(contents);
        let (seen, error) = events(&mut Reader::new(NONCE, false), &input);
        assert!(
            seen.is_empty() && matches!(error, Error::Invalid(_)),
            "{contents:?}: {error}"
        );
    }
    // An announced length out of bounds is refused before its contents have come.
    let mut input = Frame::encode(Kind::Head, MAX_REPLY_HEAD, NONCE);
    input[4..8].copy_from_slice(&u32::MAX.to_le_bytes());
    let (_, error) = events(&mut Reader::new(NONCE, false), &input);
    assert_eq!(error, Error::Invalid("length of a frame is out of bounds"));
}

#[test]
fn long_log_texts_are_parted_at_lines() {
    for (text, lengths) in [
        (vec![b'x'; MAX_LOG], vec![MAX_LOG]),
        (vec![b'x'; MAX_LOG + 1], vec![MAX_LOG, 1]),
        (
            [vec![b'x'; MAX_LOG - 9], vec![b'\n'], vec![b'y'; 20]].concat(),
            vec![MAX_LOG - 9, 20],
        ),
        ([vec![b'x'; MAX_LOG], b"\n".to_vec()].concat(), vec![MAX_LOG, 0]),
    ] {
        let mut out = Vec::new();
        log(NONCE, Level::Info, Site::NONE, &text, &mut out);
        let mut reader = Reader::new(NONCE, false);
        let mut input = &out[..];
        for length in lengths {
            assert!(matches!(reader.next(&mut input), Ok(Event::Log(_, _, text)) if text.len() == length));
        }
        assert_eq!(reader.next(&mut input).unwrap_err(), Error::Incomplete);
    }
}
