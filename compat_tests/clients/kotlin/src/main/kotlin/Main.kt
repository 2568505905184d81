// Supabase's realtime-kt through the behaviours of docs/compatibility.md, on instances of the type realtime.

import io.github.jan.supabase.realtime.broadcast.BroadcastPayload
import io.github.jan.supabase.realtime.PostgresAction
import io.github.jan.supabase.realtime.Realtime
import io.github.jan.supabase.realtime.RealtimeChannel
import io.github.jan.supabase.realtime.RealtimeProtocolVersion
import io.github.jan.supabase.realtime.postgresChangeFlow
import io.github.jan.supabase.realtime.realtime
import kotlin.system.exitProcess
import kotlinx.coroutines.delay
import kotlinx.coroutines.runBlocking
import kotlinx.serialization.json.Json
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.jsonObject
import kotlinx.serialization.json.put

val UNICODE = Json.parseToJsonElement("""{"body":"Grüße <b>&</b> 你好 🍄 \u2028","n":[1,2.5,null,true],"deep":{"er":{}}}""").jsonObject

val behaviours: Map<String, suspend Lab.() -> Unit> = mapOf(
    "subscribe, unsubscribe" to {
        val room = enter(client(), named("room"))
        room.channel.unsubscribe()
        until("it is unsubscribed") { room.channel.status.value == RealtimeChannel.Status.UNSUBSCRIBED }
    },
    "connection refused" to {
        for (key in listOf(KEY + "x", tokenOf("ada", -60))) {
            val client = client(key)
            // connect tries again and again, and returns only once it has a connection.
            val attempt = kotlinx.coroutines.withTimeoutOrNull(1000) { client.realtime.connect() }
            check(attempt == null || client.realtime.status.value != Realtime.Status.CONNECTED) { "it is connected" }
        }
    },
    "broadcast" to {
        val name = named("room")
        val (ada, bob) = List(2) { enter(client(), name) }
        ada.send(UNICODE)
        bob.gets(UNICODE)
        for (n in 0 until 50) bob.send(at(n))
        ada.gets(*Array(50) { at(it) })
    },
    "broadcast of bytes" to {
        val name = named("room")
        val (ada, bob) = List(2) { enter(client(), name) }
        ada.channel.broadcast("hello", BroadcastPayload.Binary(byteArrayOf(0, -1, -128)))
        until("the bytes arrive") { bob.bytes.toList() == listOf(listOf<Byte>(0, -1, -128)) }
    },
    "ack, self" to {
        val name = named("room")
        val ada = enter(client(), name, ack = true, self = true)
        val bob = enter(client(), name, ack = true)
        ada.send(at(1))
        bob.gets(at(1))
        bob.send(at(2))
        ada.gets(at(1), at(2))
        bob.gets(at(1))
    },
    "two generations in one channel" to {
        val name = named("room")
        val ada = enter(client(), name)
        val old = enter(client(version = RealtimeProtocolVersion.V1), name)
        ada.send(UNICODE)
        old.gets(UNICODE)
        old.send(at(2))
        ada.gets(at(2))
    },
    "presence: key, track, update, untrack" to {
        val name = named("room")
        val (ada, bob) = listOf("ada", "bob").map { enter(client(), name, key = it) }
        ada.channel.track(at(1))
        bob.channel.track(at(1))
        val late = enter(client(), name, key = "late")
        for (room in listOf(ada, bob, late)) room.untilHere("ada" to 1, "bob" to 1)
        ada.channel.track(at(2))
        for (room in listOf(ada, bob, late)) room.untilHere("ada" to 2, "bob" to 1)
        ada.channel.untrack()
        late.untilHere("bob" to 1)
        bob.channel.realtime.disconnect()
        late.untilHere()
    },
    "private channel" to {
        val name = named("team")
        val (ada, bob) = listOf("ada", "bob").map { enter(client(token = tokenOf(it)), name, private = true) }
        val outsider = enter(client(), name)
        outsider.send(at(1))
        ada.send(at(2))
        bob.gets(at(2))
        equal("of the public channel", 0, outsider.messages.size)
    },
    "private channel refused" to { room(client(token = tokenOf("eve")), "user-ada", private = true).isRefused() },
    "token renewed" to {
        val user = named("ada")
        val first = client()
        first.realtime.setAuth(tokenOf(user, 5))
        val ada = enter(first, "user-$user", private = true)
        first.realtime.setAuth(tokenOf(user))
        delay(5500) // the first token has expired
        val bob = enter(client(token = tokenOf(user)), "user-$user", private = true)
        ada.send(at(1))
        bob.gets(at(1))
        check(RealtimeChannel.Status.UNSUBSCRIBED !in ada.statuses.drop(1)) { "the channel ended: ${ada.statuses}" }
    },
    "token expired" to {
        val one = client(token = tokenOf("ada", 5))
        val room = enter(one, named("team"), private = true)
        until("the channel ends") { room.channel.status.value != RealtimeChannel.Status.SUBSCRIBED }
        equal("the connection", Realtime.Status.CONNECTED, one.realtime.status.value)
    },
    "HTTP" to {
        val name = named("room")
        val ada = enter(client(), name)
        val back = room(client(), name)
        back.channel.httpSend("hello", BroadcastPayload.Json(UNICODE))
        ada.gets(UNICODE)
        back.channel.httpSend("hello", BroadcastPayload.Binary(byteArrayOf(0, -1)))
        until("the bytes arrive") { ada.bytes.toList() == listOf(listOf<Byte>(0, -1)) }
    },
    "replay" to { throw NotOffered("this client does not ask for it") },
    "replay refused" to { throw NotOffered("this client does not ask for it") },
    "postgres_changes refused" to {
        val room = room(client(), named("room"))
        room.channel.postgresChangeFlow<PostgresAction.Insert>("public") { table = "todos" }
        room.isRefused()
    },
    "reconnect" to {
        val name = named("room")
        val ada = enter(client(addr = PROXY), name, key = "ada")
        val bob = enter(client(), name, key = "bob")
        ada.channel.track(at(1))
        bob.untilHere("ada" to 1)
        println("proxy: cut")
        System.out.flush()
        bob.untilHere()
        until("it is subscribed again") { ada.statuses.count { it == RealtimeChannel.Status.SUBSCRIBED } == 2 }
        ada.channel.track(at(2))
        bob.untilHere("ada" to 2)
        bob.send(at(3))
        ada.gets(at(3))
    },
    "limits" to {
        val name = named("room")
        val (ada, bob) = List(2) { enter(client(), name) }
        ada.send(buildJsonObject { put("body", "x".repeat(100_000)) }) // more than realtime.payload
        ada.send(at(1))
        bob.gets(at(1))
    },
)

fun main() {
    runBlocking {
        for ((name, behaviour) in behaviours) {
            val lab = Lab()
            val outcome = try {
                lab.behaviour()
                "ok"
            } catch (why: NotOffered) {
                "not offered (${why.message})"
            } catch (error: Throwable) {
                error.printStackTrace()
                "FAIL ${error.message?.replace('\n', ' ')}"
            }
            println("$name: $outcome")
            System.out.flush()
            lab.close()
        }
    }
    exitProcess(0) // the client's threads go on for a while
}
