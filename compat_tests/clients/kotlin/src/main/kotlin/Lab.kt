// What the behaviours share: the server, tokens, clients, channels that write down what comes, and waiting.

import io.github.jan.supabase.SupabaseClient
import io.github.jan.supabase.createSupabaseClient
import io.github.jan.supabase.realtime.broadcast.BroadcastPayload
import io.github.jan.supabase.realtime.PresenceAction
import io.github.jan.supabase.realtime.Realtime
import io.github.jan.supabase.realtime.RealtimeChannel
import io.github.jan.supabase.realtime.RealtimeProtocolVersion
import io.github.jan.supabase.realtime.channel
import io.github.jan.supabase.realtime.realtime
import java.util.Base64
import java.util.UUID
import java.util.concurrent.CopyOnWriteArrayList
import javax.crypto.Mac
import javax.crypto.spec.SecretKeySpec
import kotlin.time.Duration.Companion.milliseconds
import kotlinx.coroutines.CoroutineScope
import kotlinx.coroutines.CoroutineStart
import kotlinx.coroutines.Dispatchers
import kotlinx.coroutines.Job
import kotlinx.coroutines.cancelChildren
import kotlinx.coroutines.delay
import kotlinx.coroutines.launch
import kotlinx.serialization.json.JsonElement
import kotlinx.serialization.json.JsonObject
import kotlinx.serialization.json.buildJsonObject
import kotlinx.serialization.json.jsonPrimitive
import kotlinx.serialization.json.put

val SERVER: String = System.getenv("LABAPP_ADDR")
val PROXY: String = System.getenv("LABAPP_PROXY")
val KEY: String = System.getenv("REALTIME_KEY")
private val SECRET = System.getenv("REALTIME_SECRET")

/** The client has no means for a behaviour; the message says why. */
class NotOffered(why: String) : Exception(why)

private fun encoded(bytes: ByteArray) = Base64.getUrlEncoder().withoutPadding().encodeToString(bytes)

fun tokenOf(user: String, seconds: Long = 3600): String {
    val exp = System.currentTimeMillis() / 1000 + seconds
    val text = encoded("""{"alg":"HS256","typ":"JWT"}""".toByteArray()) + "." +
        encoded("""{"sub":"$user","role":"authenticated","exp":$exp}""".toByteArray())
    val mac = Mac.getInstance("HmacSHA256").apply { init(SecretKeySpec(SECRET.toByteArray(), "HmacSHA256")) }
    return text + "." + encoded(mac.doFinal(text.toByteArray()))
}

fun named(name: String) = name + "-" + UUID.randomUUID().toString().take(8)

suspend fun until(what: String, millis: Long = 45_000, condition: () -> Boolean) {
    val deadline = System.currentTimeMillis() + millis
    while (!condition()) {
        check(System.currentTimeMillis() < deadline) { "waited in vain: $what" }
        delay(10)
    }
}

fun equal(what: String, want: Any?, got: Any?) = check(want == got) { "$what: want $want, got $got" }

fun at(n: Int) = buildJsonObject { put("at", n) }

/** One behaviour: its clients and what collects their messages end with it. */
class Lab {
    private val scope = CoroutineScope(Dispatchers.Default + Job())
    private val clients = CopyOnWriteArrayList<SupabaseClient>()

    fun client(key: String = KEY, token: String? = null, addr: String = SERVER, version: RealtimeProtocolVersion = RealtimeProtocolVersion.V2) =
        createSupabaseClient("http://$addr", key) {
            install(Realtime) {
                vsn = version
                requireValidSession = false
                disconnectOnSessionLoss = false
                reconnectDelay = 50.milliseconds
                rejoinDelay = 50.milliseconds
                if (token != null) accessToken = { token }
            }
        }.also { clients += it }

    fun room(
        client: SupabaseClient, name: String, private: Boolean = false, ack: Boolean = false, self: Boolean = false, key: String = "", presence: Boolean = key != "",
    ) = Room(scope, client.channel(name) {
        isPrivate = private
        broadcast {
            acknowledgeBroadcasts = ack
            receiveOwnBroadcasts = self
        }
        presence { this.key = key }
    }, presence)

    suspend fun enter(client: SupabaseClient, name: String, private: Boolean = false, ack: Boolean = false, self: Boolean = false, key: String = "") =
        room(client, name, private, ack, self, key).also { it.subscribe() }

    suspend fun close() {
        for (client in clients) {
            client.realtime.disconnect()
            client.close()
        }
        scope.coroutineContext.cancelChildren()
    }
}

/** A channel, and what came. */
class Room(scope: CoroutineScope, val channel: RealtimeChannel, presence: Boolean) {
    val messages = CopyOnWriteArrayList<JsonElement>()
    val bytes = CopyOnWriteArrayList<List<Byte>>()
    val statuses = CopyOnWriteArrayList<RealtimeChannel.Status>()
    private val present = java.util.concurrent.ConcurrentHashMap<String, Int>()

    init {
        fun collecting(block: suspend CoroutineScope.() -> Unit) = scope.launch(start = CoroutineStart.UNDISPATCHED, block = block)
        collecting { channel.status.collect { statuses += it } }
        collecting {
            channel.broadcastFlow("hello").collect {
                when (val payload = it.payload) {
                    is BroadcastPayload.Json -> messages += payload.value
                    is BroadcastPayload.Binary -> bytes += payload.data.toList()
                }
            }
        }
        if (presence) collecting { channel.presenceChangeFlow().collect { apply(it) } }
    }

    private fun apply(action: PresenceAction) {
        action.leaves.keys.forEach { present.remove(it) }
        action.joins.forEach { (key, presence) -> present[key] = presence.state["at"]!!.jsonPrimitive.content.toInt() }
    }

    suspend fun subscribe() {
        channel.subscribe()
        until("it is subscribed") { channel.status.value == RealtimeChannel.Status.SUBSCRIBED }
    }

    suspend fun send(payload: JsonObject) = channel.broadcast("hello", BroadcastPayload.Json(payload))

    suspend fun gets(vararg payloads: JsonElement) = until("${payloads.toList()} arrive") { messages.toList() == payloads.toList() }

    suspend fun untilHere(vararg want: Pair<String, Int>) = until("presences are ${want.toList()}") { present.toMap() == want.toMap() }

    /** Subscribes, and is refused: this version of the client then waits for itself, before it has joined again (RErrorEvent.kt). */
    suspend fun isRefused() {
        channel.subscribe()
        until("the client hears of it") { statuses.size > 1 && channel.status.value != RealtimeChannel.Status.SUBSCRIBING }
        check(RealtimeChannel.Status.SUBSCRIBED !in statuses) { "it was subscribed: $statuses" }
    }
}
