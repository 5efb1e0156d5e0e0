//! Turns that are full: what publishes is under one budget, and what has to be done is done all the same.

use roomd::limits::Limits;

use crate::client::json_hello;
use crate::scene::{EXEMPT, Scene};

/// What one turn publishes and answers, in bytes, and the longest line that may come on top of it.
const TURN_BYTES_MAX: usize = 64 * 1024 + 4096 + 100;

fn messages(scene: &Scene) -> u64 {
    scene.server.handler().chat().rooms().map(|room| room.newest_id()).sum()
}

/// A quarter of it was nothing: every turn was full before it began, and the loop turned for ever and read nobody.
#[test]
fn a_feed_of_a_few_bytes_does_not_make_every_turn_full() {
    let mut scene = Scene::new(1, Limits { feed_bytes: Some(1), ..Limits::default() });
    let pipe = scene.connect(EXEMPT, 1 << 20, b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n");
    scene.turns(10);
    assert!(scene.machine.receive(pipe, usize::MAX).starts_with(b"HTTP/1.1 200 OK\r\n"));
    scene.turns(10);
    assert_eq!(scene.server.net().connections(), 0);
}

/// They used to publish 4 MB in one turn, and to push every reader off the tail of the feed.
#[test]
fn a_thousand_netcats_that_end_in_mid_line_keep_to_the_budget_and_cut_nobody() {
    const COUNT: usize = 1000;
    const LINE_BYTES: usize = 4000;
    let mut scene = Scene::new(1, Limits { quiet_above: Some(8), ..Limits::default() });
    scene.machine.world_mut().wait_max_ms = 0;
    let readers: Vec<usize> =
        (0..4).map(|i| scene.connect(EXEMPT, 128 * 1024, format!("reader{i}\n").as_bytes())).collect();
    let netcats: Vec<usize> =
        (0..COUNT).map(|i| scene.connect(EXEMPT, 128 * 1024, format!("netcat{i}\n").as_bytes())).collect();
    let mut heard = vec![Vec::new(); readers.len()];
    let mut take = |scene: &Scene| {
        for (reader, heard) in readers.iter().zip(&mut heard) {
            heard.extend(scene.machine.receive(*reader, usize::MAX));
        }
        for netcat in &netcats {
            scene.machine.receive(*netcat, usize::MAX);
        }
    };
    for _ in 0..200 {
        scene.machine.world_mut().now_ms += 10;
        scene.turn_unchecked();
        take(&scene);
    }
    assert_eq!(scene.server.handler().chat().members(), COUNT + 4);
    for (i, &netcat) in netcats.iter().enumerate() {
        scene.machine.send(netcat, format!("{i} {}", "x".repeat(LINE_BYTES - 10)).as_bytes());
        scene.machine.end(netcat);
    }
    let (mut turns, mut most) = (0, 0);
    while scene.server.handler().chat().members() > readers.len() {
        let before = messages(&scene);
        scene.machine.world_mut().now_ms += 1;
        scene.turn();
        take(&scene);
        let published = (messages(&scene) - before) as usize * LINE_BYTES;
        assert!(published <= TURN_BYTES_MAX, "{published} bytes in one turn");
        (turns, most) = (turns + 1, most.max(published));
        assert!(turns < 10 * COUNT, "it does not come to an end");
    }
    println!("{turns} turns, at most {most} bytes in one");
    for _ in 0..100 {
        scene.after_ms(100);
        take(&scene);
    }
    assert_eq!(messages(&scene), COUNT as u64, "every last line is a line");
    assert_eq!(scene.lost_slow(), 0, "somebody was cut");
    for heard in &heard {
        let lines = heard.split(|&byte| byte == b'\n').filter(|line| line.len() > LINE_BYTES - 20).count();
        assert_eq!(lines, COUNT, "a reader missed something");
    }
}

/// Saying good-bye carries out what waits, in mid-turn. That used to be forgotten when the turn's budget
/// was counted, and a crowd that spoke and left pushed every reader off the tail of its feed.
#[test]
fn a_crowd_that_speaks_and_leaves_in_one_turn_cuts_nobody() {
    let mut scene = Scene::new(1, Limits { feed_bytes: Some(16 * 1024), ..Limits::default() });
    let observer = scene.connect(EXEMPT, 1 << 20, b"observer\n");
    let leavers: Vec<usize> =
        (0..60).map(|i| scene.connect(EXEMPT, 1 << 20, format!("leaver{i}\n").as_bytes())).collect();
    scene.turns(10);
    for leaver in &leavers {
        let lines: String = (0..9).map(|i| format!("{i}-{}\n", "x".repeat(440))).collect();
        scene.machine.send(*leaver, format!("{lines}/quit\n").as_bytes());
    }
    let mut heard = Vec::new();
    for _ in 0..200 {
        scene.turn();
        heard.extend(scene.machine.receive(observer, usize::MAX));
        leavers.iter().for_each(|&leaver| drop(scene.machine.receive(leaver, usize::MAX)));
    }
    assert_eq!(scene.lost_slow(), 0);
    let lines = heard.split(|&byte| byte == b'\n').filter(|line| line.len() > 440).count();
    assert_eq!(lines, 60 * 9);
}

/// Many paste, and every turn is full. A reader that has stopped must be closed all the same, and what is kept
/// for it given back; deadlines come as ever; but nobody is silent who waits for its turn to be heard.
#[test]
fn full_turns_do_not_keep_laggards_nor_hold_up_deadlines() {
    let mut scene = Scene::new(1, Limits { max_per_ip: None, ..Limits::default() });
    scene.machine.world_mut().wait_max_ms = 0;
    let reader = scene.connect(EXEMPT, 1 << 20, b"reader\n");
    let laggard = scene.connect(EXEMPT, 1000, b"laggard\n");
    let pasters: Vec<usize> =
        (0..50).map(|i| scene.connect(EXEMPT, 1 << 20, format!("paster{i}\n").as_bytes())).collect();
    scene.turns(10);
    let silent = scene.connect(EXEMPT, 1000, b"");
    let line = format!("{}\n", "x".repeat(1000));
    let (mut program, mut heard) = (None, Vec::new());
    for turn in 0..500 {
        for &paster in &pasters {
            while scene.machine.unread(paster) < 200 * 1024 {
                scene.machine.send(paster, line.as_bytes());
            }
            scene.machine.receive(paster, usize::MAX);
        }
        if turn == 300 {
            program = Some(scene.connect(EXEMPT, 1 << 20, (json_hello("program") + "\n").as_bytes()));
        }
        scene.after_ms(10);
        scene.machine.receive(reader, usize::MAX);
        if let Some(program) = program {
            heard.extend(scene.machine.receive(program, usize::MAX));
        }
        let bytes = scene.server.net().feed_bytes();
        assert!(
            bytes < 4 * scene.limits.feed_bytes.unwrap(),
            "{} ms: {bytes} bytes are kept",
            scene.now_ms()
        );
    }
    let told = |pipe| String::from_utf8(scene.machine.receive(pipe, usize::MAX)).unwrap();
    assert_eq!(scene.lost_slow(), 1, "the laggard, and nobody else");
    assert!(told(laggard).contains("* welcome"));
    assert_eq!(told(silent), "", "who says nothing may be a browser, and was greeted");
    let first = String::from_utf8_lossy(&heard[..heard.len().min(60)]);
    assert!(first.starts_with('{'), "a program that waited to be heard was greeted as a person: {first}");
    assert!(!scene.machine.is_at_end(reader));
}
