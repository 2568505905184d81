package presence

// inherited are the properties that every JavaScript object has.
var inherited = map[string]bool{
	"__defineGetter__": true, "__defineSetter__": true, "__lookupGetter__": true, "__lookupSetter__": true, "__proto__": true,
	"constructor": true, "hasOwnProperty": true, "isPrototypeOf": true, "propertyIsEnumerable": true,
	"toLocaleString": true, "toString": true, "valueOf": true,
}

// BreaksClients reports whether a key is the name of a property of JavaScript's
// Object.prototype, such as "constructor" or "__proto__". phoenix.js up to 1.7
// takes what it finds under such a name for a presence that it knows
// (assets/js/phoenix/presence.js, syncState and syncDiff) and throws: whoever
// joins later sees nobody. [Tracker.Track] takes such a key as Phoenix does; an
// application whose clients choose their keys should refuse it.
func BreaksClients(key string) bool { return inherited[key] }
