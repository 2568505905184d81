<?php
// The back end of a moderated chat: plain PHP, and SQLite for its users, rooms and messages.
// ../README.md says how to run it.

declare(strict_types=1);
error_reporting(E_ALL);
set_error_handler(fn($level, $message, $file, $line) => throw new ErrorException($message, 0, $level, $file, $line));

if (!getenv('HOOK_SECRET') || !getenv('MYCELIUM_KEY')) {
    throw new RuntimeException('HOOK_SECRET and MYCELIUM_KEY must be set: see ../README.md');
}
$db = new PDO('sqlite:' . (getenv('DATABASE') ?: __DIR__ . '/chat.db'));
$db->setAttribute(PDO::ATTR_DEFAULT_FETCH_MODE, PDO::FETCH_ASSOC);
if (!$db->query("select 1 from sqlite_master")->fetch()) {
    $db->exec(file_get_contents(__DIR__ . '/schema.sql'));
}

function query(string $sql, mixed ...$values): PDOStatement {
    global $db;
    $statement = $db->prepare($sql);
    $statement->execute($values);
    return $statement;
}

function verify(string $secret, array $headers, string $body): bool {
    $names = ['webhook-id', 'webhook-timestamp', 'webhook-signature'];
    [$id, $sent, $signatures] = array_map(fn($name) => $headers[$name] ?? '', $names);
    $key = base64_decode(preg_replace('/^whsec_/', '', $secret));
    $expected = 'v1,' . base64_encode(hash_hmac('sha256', "$id.$sent.$body", $key, true));
    $fresh = abs(time() - (int) $sent) < 300;
    return $fresh && array_filter(explode(' ', $signatures), fn($s) => hash_equals($expected, $s)) !== [];
}

function user_of(mixed $token): array|false {
    $sql = 'select * from users join sessions using (name) where token = ? and not banned';
    return is_string($token) ? query($sql, $token)->fetch() : false;
}

function connect(array $r): array {
    $user = user_of($r['params']['token'] ?? null);
    if (!$user) {
        return ['allow' => false];
    }
    return ['allow' => true, 'socket_id' => "users:{$user['name']}", 'assigns' => ['user' => $user['name']]];
}

function join_room(array $r): array {
    [$topic, $user] = [$r['topic'], $r['assigns']['user']];
    $sql = 'select moderator from members join users using (name) where topic = ? and name = ? and not banned';
    $member = query($sql, $topic, $user)->fetch();
    if (!$member) {
        return refuse('members only');
    }
    $sql = 'select id, name, body from messages where topic = ? order by id desc limit 20';
    $messages = query($sql, $topic)->fetchAll();
    $role = $member['moderator'] ? 'moderator' : 'member';
    return [
        'allow' => true,
        'reply' => ['role' => $role, 'messages' => array_reverse($messages)],
        'assigns' => ['role' => $role],
        'track' => ['key' => $user, 'meta' => ['role' => $role, 'status' => 'here']],
    ];
}

function event(array $r): array {
    ['user' => $user, 'role' => $role] = $r['assigns'];
    [$topic, $payload] = [$r['topic'], $r['payload'] ?? null];
    switch ($r['event']) {
        case 'new_msg':
            $text = $payload['body'] ?? null; // whatever the client has sent
            if (!is_string($text) || iconv_strlen($text) > 2000) {
                return refuse('a message has a body of up to 2000 characters');
            }
            if ($role !== 'moderator' && str_contains($text, '://')) {
                return refuse('only moderators post links');
            }
            $body = preg_replace('/\bdarn\b/i', '****', $text);
            $sql = 'insert into messages (topic, name, body) values (?, ?, ?) returning id, name, body';
            $message = query($sql, $topic, $user, $body)->fetch();
            $broadcast = [['event' => 'new_msg', 'payload' => $message]];
            return ['allow' => true, 'reply' => ['id' => $message['id']], 'broadcast' => $broadcast];
        case 'search':
            $text = $payload['text'] ?? null;
            if (!is_string($text)) {
                return refuse('a search has a text');
            }
            $sql = 'select id, name, body from messages where topic = ? and body like ? order by id desc limit 20';
            return ['allow' => true, 'reply' => ['messages' => query($sql, $topic, "%$text%")->fetchAll()]];
        case 'status':
            $status = $payload['status'] ?? null;
            $meta = ['role' => $role, 'status' => is_string($status) ? iconv_substr($status, 0, 100) : 'here'];
            return ['allow' => true, 'reply' => new stdClass, 'track' => ['key' => $user, 'meta' => $meta]];
    }
    return refuse('unknown event');
}

function refuse(string $reason): array {
    return ['allow' => false, 'reply' => ['reason' => $reason]];
}

function told(array $events): array {
    global $db;
    $db->beginTransaction();
    foreach ($events as $e) {
        if (query('insert or ignore into told values (?)', $e['id'])->rowCount() === 0) {
            continue; // it has been handled
        }
        match ([$e['type'], $e['event'] ?? null]) {
            ['joined', null] => query('update rooms set visits = visits + 1 where topic = ?', $e['topic']),
            ['published', 'new_msg'] => query('update rooms set posts = posts + 1 where topic = ?', $e['topic']),
            ['left', null] => query('update users set last_seen = ? where name = ?', $e['time'], $e['user'] ?? null),
            default => null,
        };
    }
    $db->commit();
    return [];
}

// Your own login: this one lets in whoever knows a name.
function login(array $form): array {
    $user = query('select name from users where name = ? and not banned', $form['name'] ?? '')->fetch();
    if (!$user) {
        stop(403);
    }
    $token = bin2hex(random_bytes(16));
    query('insert into sessions values (?, ?)', $token, $user['name']);
    return ['token' => $token];
}

function ban(array $form, array $headers): array {
    $by = user_of(str_replace('Bearer ', '', $headers['authorization'] ?? ''));
    if (!$by || !$by['moderator']) {
        stop(403);
    }
    query('update users set banned = true where name = ?', $form['user']);
    query('delete from sessions where name = ?', $form['user']);
    call('revocations', ['user' => $form['user']]);
    $topics = query('select topic from members where name = ?', $form['user'])->fetchAll(PDO::FETCH_COLUMN);
    $message = ['topics' => $topics, 'event' => 'put_out', 'payload' => ['user' => $form['user']]];
    call('broadcasts', ['messages' => [$message]]);
    return [];
}

function call(string $action, array $body): void {
    $server = getenv('MYCELIUM_SERVER') ?: 'http://localhost:4000';
    file_get_contents("$server/api/instances/default/$action", context: stream_context_create(['http' => [
        'method' => 'POST',
        'header' => ['Authorization: Bearer ' . getenv('MYCELIUM_KEY'), 'Content-Type: application/json'],
        'content' => json_encode($body),
    ]]));
}

function decide(array $headers, string $body): array {
    if (!verify(getenv('HOOK_SECRET'), $headers, $body)) {
        stop(401);
    }
    $r = json_decode($body, true);
    return isset($r['events']) ? told($r['events']) : match ($r['type']) {
        'connect' => connect($r),
        'join' => join_room($r),
        'event' => event($r),
    };
}

function stop(int $status): never {
    http_response_code($status);
    exit;
}

$headers = array_change_key_case(getallheaders());
$body = file_get_contents('php://input');
$answer = match ($_SERVER['REQUEST_METHOD'] . ' ' . parse_url($_SERVER['REQUEST_URI'], PHP_URL_PATH)) {
    'POST /mycelium' => decide($headers, $body),
    'POST /login' => login((array) json_decode($body, true)),
    'POST /ban' => ban((array) json_decode($body, true), $headers),
    'GET /rooms' => query('select * from rooms order by topic')->fetchAll(),
    default => null,
};
if ($answer === null) {
    return false; // PHP's server serves the page
}
header('Content-Type: application/json');
echo json_encode($answer, JSON_THROW_ON_ERROR | JSON_UNESCAPED_UNICODE);
