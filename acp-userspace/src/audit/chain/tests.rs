use super::*;

fn key() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).unwrap()
}

fn header() -> SegmentHeader {
    SegmentHeader {
        format: 1,
        number: 0,
        instance: "i".into(),
        boot: "b".into(),
        version: "0".into(),
        opened: "2026-11-23T12:00:00Z".into(),
        key: BASE64.encode(key().public_key().as_ref()),
        rings: vec!["01".into()],
        past: 0,
        previous: String::new(),
    }
}

/// A segment of three blocks with two records each and a head behind the second and the third.
fn segment(chain: &mut ChainWriter) -> Vec<u8> {
    let (_, mut file) = chain.next_header(header());
    chain.begin(&file);
    for block in 0..3_u64 {
        let mut batch =
            format!("{{\"kind\":\"event\",\"n\":{block}}}\n{{\"kind\":\"event\",\"m\":{block}}}\n").into_bytes();
        let facts = BlockFacts { records: 2, rings: vec![Cursor(block * 10, block)], open: block, unsummed: 0 };
        chain.seal(&mut batch, &facts);
        file.extend_from_slice(&batch);
        if block > 0 {
            let head = chain.head(&key(), format!("t{block}"));
            chain.wrote_head(&head);
            file.extend_from_slice(&head);
        }
    }
    file
}

fn scan(bytes: &[u8]) -> Result<Scanned, Fault> {
    Scan { number: 1, previous: Some(Hash::default()), key: Some(key().public_key().as_ref()) }.run(
        bytes,
        |_, _| {},
        |_| {},
    )
}

/// What is wrong with it.
fn fault(scan: Result<Scanned, Fault>) -> FaultKind {
    match scan.map(|scanned| scanned.tail) {
        Ok(Tail::Alien(fault)) | Err(fault) => fault.kind,
        other => panic!("a fault, not {other:?}"),
    }
}

/// What `verify` makes of it: nothing may be behind the last block.
fn sound(bytes: &[u8]) -> bool {
    scan(bytes).is_ok_and(|scanned| scanned.tail == Tail::None && scanned.signed_end)
}

#[test]
fn a_segment_reads_back_with_its_records_cursors_and_heads() {
    let mut chain = ChainWriter::new();
    let file = segment(&mut chain);
    let (mut records, mut states) = (Vec::new(), Vec::new());
    let scan = Scan { number: 1, previous: Some(Hash::default()), key: None };
    let scanned =
        scan.run(&file, |line, text| records.push((line, text.to_vec())), |state| states.push(*state)).unwrap();
    assert_eq!(records.len(), 6);
    assert_eq!(records[0], (2, b"{\"kind\":\"event\",\"n\":0}\n".to_vec()));
    assert_eq!((states.len(), scanned.heads, scanned.whole), (4, 2, file.len()));
    assert_eq!(scanned.facts, Some(BlockFacts { records: 2, rings: vec![Cursor(20, 2)], open: 2, unsummed: 0 }));
    assert_eq!(scanned.end.hash, chain.last());
}

#[test]
fn any_changed_byte_is_found() {
    let file = segment(&mut ChainWriter::new());
    assert!(sound(&file));
    for at in 0..file.len() {
        for flip in [1, 0x20, 0x80] {
            let mut changed = file.clone();
            changed[at] ^= flip;
            assert!(!sound(&changed), "byte {at} changed to {:?}", changed[at] as char);
        }
    }
}

#[test]
fn any_removed_repeated_or_swapped_line_is_found() {
    let file = segment(&mut ChainWriter::new());
    let lines: Vec<&[u8]> = file.split_inclusive(|b| *b == b'\n').collect();
    for n in 0..lines.len() {
        let mut removed = lines.clone();
        removed.remove(n);
        assert!(!sound(&removed.concat()), "line {n} removed");
        let mut repeated = lines.clone();
        repeated.insert(n, lines[n]);
        // A head said twice says nothing new, and nothing behind it was changed.
        assert!(!sound(&repeated.concat()) || n == lines.len() - 1, "line {n} repeated");
        if n + 1 < lines.len() {
            let mut swapped = lines.clone();
            swapped.swap(n, n + 1);
            assert!(!sound(&swapped.concat()), "lines {n} and {} swapped", n + 1);
        }
    }
}

#[test]
fn a_writer_killed_at_any_byte_of_its_last_batch_leaves_a_torn_tail_and_nothing_worse() {
    let mut chain = ChainWriter::new();
    let mut file = segment(&mut chain);
    let whole = file.len();
    let mut batch = b"{\"kind\":\"event\",\"x\":\"y\"}\n{\"kind\":\"event\",\"x\":{}}\n".to_vec();
    chain.seal(&mut batch, &BlockFacts { records: 2, rings: vec![Cursor(9, 9)], ..BlockFacts::default() });
    file.extend_from_slice(&batch);
    file.extend_from_slice(&chain.head(&key(), "t".into()));
    for cut in whole + 1..file.len() {
        let scanned = scan(&file[..cut]).unwrap();
        let expected = if cut < whole + batch.len() { whole } else { whole + batch.len() };
        assert_eq!(scanned.whole, expected);
        assert_eq!(scanned.tail, if cut == expected { Tail::None } else { Tail::Torn }, "cut at {cut}");
    }
    for at in whole..whole + batch.len() {
        let mut changed = file[..whole + batch.len()].to_vec();
        changed[at] ^= 1;
        let taken_for_torn = scan(&changed).is_ok_and(|scanned| scanned.tail == Tail::Torn);
        assert!(!taken_for_torn, "byte {at} changed is not what a kill leaves behind");
    }
}

#[test]
fn segments_follow_each_other() {
    let mut chain = ChainWriter::new();
    let first = segment(&mut chain);
    let end = chain.last();
    let second = segment(&mut chain);
    assert!(sound(&first));
    let with = |previous| Scan { number: 2, previous: Some(previous), key: None }.run(&second, |_, _| {}, |_| {});
    assert!(with(end).is_ok());
    assert_eq!(fault(with(Hash([1; 32]))), FaultKind::Previous);
    assert_eq!(fault(scan(&second)), FaultKind::Number(2));
}

#[test]
fn need_b15_a_head_of_another_key_is_refused() {
    let mut chain = ChainWriter::new();
    let mut file = segment(&mut chain);
    file.extend_from_slice(&chain.head(&Ed25519KeyPair::from_seed_unchecked(&[8; 32]).unwrap(), "t".into()));
    assert_eq!(fault(scan(&file)), FaultKind::Head);
}
