//! Collectors that come and go.

use std::{
    io::{Read as _, Write as _},
    net::{SocketAddr, TcpListener, TcpStream, UdpSocket},
    time::Duration,
};

use super::*;

/// Long: for what does not hang.
const PATIENCE: Duration = Duration::from_secs(60);

/// Short: for what does.
const IMPATIENCE: Duration = Duration::from_millis(200);

/// Lets the runtime see what happened to its sockets.
async fn look() {
    tokio::time::sleep(Duration::from_millis(20)).await;
}

fn loopback() -> SocketAddr {
    (Ipv4Addr::LOCALHOST, 0).into()
}

/// For ports that are given up and taken again: no other test has one there meanwhile.
fn own_loopback(number: u8) -> SocketAddr {
    (Ipv4Addr::new(127, 0, 0, number), 0).into()
}

/// The events of a stream, until there are so many; every message is whole and in sequence.
fn read(stream: &mut TcpStream, count: usize) -> Vec<Event> {
    let mut decoder = Decoder::default();
    let mut events = Vec::new();
    while events.len() < count {
        let mut message = vec![0; 4];
        stream.read_exact(&mut message).unwrap();
        message.resize(read_length(&message), 0);
        stream.read_exact(&mut message[4..]).unwrap();
        let decoded = decoder.message(&message).unwrap();
        assert_eq!(decoded.sequence as usize, events.len());
        events.extend(decoded.events);
    }
    events
}

fn many() -> Vec<Event> {
    (0..3_000).flat_map(examples).collect()
}

#[tokio::test]
async fn a_tcp_collector_gets_all_of_a_batch() {
    let listener = TcpListener::bind(loopback()).unwrap();
    let address = listener.local_addr().unwrap();
    let collector = Collector::new(address, Protocol::Tcp, PATIENCE);
    let mut exporter = Exporter::connect(collector).await.unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    let reader = std::thread::spawn(move || read(&mut stream, 2 * many().len()));
    exporter.send(&many()).await.unwrap();
    exporter.send(&[]).await.unwrap();
    exporter.send(&many()).await.unwrap();
    assert_eq!(reader.join().unwrap(), [many(), many()].concat());
}

#[tokio::test]
async fn a_tcp_collector_that_died_and_is_back_gets_templates_and_all_that_was_not_sent() {
    let listener = TcpListener::bind(own_loopback(3)).unwrap();
    let address = listener.local_addr().unwrap();
    let collector = Collector::new(address, Protocol::Tcp, PATIENCE);
    let mut exporter = Exporter::connect(collector).await.unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    exporter.send(&examples(1)).await.unwrap();
    assert_eq!(read(&mut stream, 6), examples(1));
    // It ends the connection, and is there.
    drop(stream);
    look().await;
    exporter.send(&examples(2)).await.unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(read(&mut stream, 6), examples(2), "a session of its own");
    // It is gone altogether.
    drop((stream, listener));
    look().await;
    for _ in 0..2 {
        let error = exporter.send(&examples(3)).await.unwrap_err();
        assert!(matches!(error, ExportError::Connect { .. }), "{error}");
        let text = error.to_string();
        assert!(
            text.contains(&address.to_string()) && text.contains("refused"),
            "{text}"
        );
    }
    let listener = TcpListener::bind(address).unwrap();
    exporter.send(&examples(3)).await.unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(read(&mut stream, 6), examples(3));
}

#[tokio::test]
async fn a_tcp_collector_that_talks_is_sent_to_all_the_same() {
    let listener = TcpListener::bind(loopback()).unwrap();
    let collector = Collector::new(listener.local_addr().unwrap(), Protocol::Tcp, PATIENCE);
    let mut exporter = Exporter::connect(collector).await.unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    stream.write_all(b"hello").unwrap();
    look().await;
    exporter.send(&examples(1)).await.unwrap();
    exporter.send(&examples(2)).await.unwrap();
    assert_eq!(read(&mut stream, 12), [examples(1), examples(2)].concat());
}

#[tokio::test]
async fn a_tcp_collector_that_does_not_read_is_given_up_and_a_new_session_begins_whole() {
    let listener = TcpListener::bind(loopback()).unwrap();
    let collector = Collector::new(listener.local_addr().unwrap(), Protocol::Tcp, IMPATIENCE);
    let mut exporter = Exporter::connect(collector).await.unwrap();
    let hung = listener.accept().unwrap();
    let error = loop {
        if let Err(error) = exporter.send(&many()).await {
            break error;
        }
    };
    let ExportError::Send { source, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), std::io::ErrorKind::TimedOut);
    assert!(
        error.to_string().contains("nothing within 200ms"),
        "{error}"
    );
    exporter.send(&examples(1)).await.unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(read(&mut stream, 6), examples(1));
    drop(hung);
}

#[tokio::test]
async fn a_send_that_is_cancelled_leaves_no_half_message_in_a_stream() {
    let listener = TcpListener::bind(loopback()).unwrap();
    let collector = Collector::new(listener.local_addr().unwrap(), Protocol::Tcp, PATIENCE);
    let mut exporter = Exporter::connect(collector).await.unwrap();
    let hung = listener.accept().unwrap();
    let events = many();
    while tokio::time::timeout(IMPATIENCE, exporter.send(&events))
        .await
        .is_ok()
    {}
    exporter.send(&examples(1)).await.unwrap();
    let (mut stream, _) = listener.accept().unwrap();
    assert_eq!(read(&mut stream, 6), examples(1));
    drop(hung);
}

#[tokio::test]
async fn a_udp_collector_gets_datagrams_of_whole_messages() {
    let socket = UdpSocket::bind(loopback()).unwrap();
    let address = socket.local_addr().unwrap();
    let mut exporter = Exporter::connect(Collector::new(address, Protocol::Udp, PATIENCE))
        .await
        .unwrap();
    let events: Vec<_> = (0..20).flat_map(examples).collect();
    exporter.send(&events).await.unwrap();
    let mut decoder = Decoder::default();
    let mut read = Vec::new();
    while read.len() < events.len() {
        let mut message = [0; 2_000];
        let length = socket.recv(&mut message).unwrap();
        assert!(length <= 1_400);
        let decoded = decoder.message(&message[..length]).unwrap();
        assert_eq!(decoded.sequence as usize, read.len());
        read.extend(decoded.events);
    }
    assert_eq!(read, events);
}

#[tokio::test]
async fn a_udp_port_that_nobody_listens_on_is_an_error_of_the_next_send() {
    let socket = UdpSocket::bind(own_loopback(4)).unwrap();
    let address = socket.local_addr().unwrap();
    drop(socket);
    let mut exporter = Exporter::connect(Collector::new(address, Protocol::Udp, PATIENCE))
        .await
        .unwrap();
    exporter.send(&examples(1)).await.unwrap();
    let error = exporter.send(&examples(2)).await.unwrap_err();
    let ExportError::Send { source, .. } = &error else {
        panic!("{error}");
    };
    assert_eq!(source.kind(), std::io::ErrorKind::ConnectionRefused);
    // It is back, and learns the templates.
    let socket = UdpSocket::bind(address).unwrap();
    exporter.send(&examples(2)).await.unwrap();
    let mut message = [0; 2_000];
    let length = socket.recv(&mut message).unwrap();
    let decoded = Decoder::default().message(&message[..length]).unwrap();
    assert_eq!((decoded.sequence, decoded.events), (0, examples(2)));
}

#[tokio::test]
async fn a_collector_of_ipv6_is_reached() {
    let Ok(socket) = UdpSocket::bind("[::1]:0") else {
        eprintln!("skipped: no IPv6 here");
        return;
    };
    let address = socket.local_addr().unwrap();
    let mut exporter = Exporter::connect(Collector::new(address, Protocol::Udp, PATIENCE))
        .await
        .unwrap();
    exporter.send(&examples(1)).await.unwrap();
    let mut message = [0; 2_000];
    let length = socket.recv(&mut message).unwrap();
    assert_eq!(
        Decoder::default()
            .message(&message[..length])
            .unwrap()
            .events,
        examples(1)
    );
}

#[tokio::test]
async fn messages_that_are_too_short_are_refused_before_anything_is_opened() {
    let collector = Collector {
        message_size: 100,
        ..Collector::new(loopback(), Protocol::Tcp, PATIENCE)
    };
    let error = Exporter::connect(collector).await.unwrap_err();
    assert!(matches!(error, ExportError::MessageSize(_)), "{error}");
}
