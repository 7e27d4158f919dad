package dev.mobilekit.bench.core

import java.nio.ByteBuffer
import java.nio.charset.CharacterCodingException
import java.nio.charset.CodingErrorAction

/** A message that breaks the contract; the text begins with the path of the field at fault. */
class ProtocolException(
    path: String,
    problem: String,
) : Exception("$path: $problem")

/** A JSON value. Numbers keep their text, so that `1.0` is never taken for an integer. */
sealed interface Json {
    data class Object(
        val fields: Map<String, Json>,
    ) : Json

    data class Array(
        val items: List<Json>,
    ) : Json

    data class Text(
        val value: String,
    ) : Json

    data class Number(
        val literal: String,
    ) : Json

    data class Bool(
        val value: Boolean,
    ) : Json

    data object Null : Json
}

/**
 * Reads one JSON document strictly: RFC 8259 without extensions, UTF-8 only, no repeated name.
 *
 * Written out because the libraries at hand forgive what the contract forbids: they take the last
 * of repeated fields, `"1"` or `1.0` for an integer, or malformed UTF-8.
 */
fun parseJson(bytes: ByteArray): Json {
    val text =
        try {
            Charsets.UTF_8
                .newDecoder()
                .onMalformedInput(CodingErrorAction.REPORT)
                .onUnmappableCharacter(CodingErrorAction.REPORT)
                .decode(ByteBuffer.wrap(bytes))
                .toString()
        } catch (_: CharacterCodingException) {
            throw ProtocolException("$", "not UTF-8")
        }
    return JsonParser(text).document()
}

private const val MAX_DEPTH = 32
private val NUMBER = Regex("-?(0|[1-9][0-9]*)(\\.[0-9]+)?([eE][+-]?[0-9]+)?")

private class JsonParser(
    private val text: String,
) {
    private var at = 0

    fun document(): Json {
        val value = value("$", 0)
        skipBlanks()
        if (at != text.length) fail("$", "text after the end")
        return value
    }

    private fun value(
        path: String,
        depth: Int,
    ): Json {
        if (depth > MAX_DEPTH) fail(path, "nested too deeply")
        skipBlanks()
        return when (peek()) {
            '{' -> obj(path, depth)
            '[' -> array(path, depth)
            '"' -> Json.Text(string(path))
            't' -> word("true", Json.Bool(true), path)
            'f' -> word("false", Json.Bool(false), path)
            'n' -> word("null", Json.Null, path)
            else -> number(path)
        }
    }

    private fun obj(
        path: String,
        depth: Int,
    ): Json {
        val fields = LinkedHashMap<String, Json>()
        at++
        skipBlanks()
        if (take('}')) return Json.Object(fields)
        do {
            skipBlanks()
            if (peek() != '"') fail(path, "expected a field's name")
            val name = string(path)
            skipBlanks()
            if (!take(':')) fail("$path.$name", "expected ':'")
            val value = value("$path.$name", depth + 1)
            if (fields.put(name, value) != null) fail("$path.$name", "given twice")
            skipBlanks()
        } while (take(','))
        if (!take('}')) fail(path, "expected ',' or '}'")
        return Json.Object(fields)
    }

    private fun array(
        path: String,
        depth: Int,
    ): Json {
        val items = ArrayList<Json>()
        at++
        skipBlanks()
        if (take(']')) return Json.Array(items)
        do {
            items += value("$path[${items.size}]", depth + 1)
            skipBlanks()
        } while (take(','))
        if (!take(']')) fail(path, "expected ',' or ']'")
        return Json.Array(items)
    }

    private fun string(path: String): String {
        val out = StringBuilder()
        at++
        while (true) {
            val char = next(path)
            when {
                char == '"' -> return out.toString()
                char == '\\' -> out.append(escape(path))
                char < ' ' -> fail(path, "control character in a text")
                else -> out.append(char)
            }
        }
    }

    private fun escape(path: String): String =
        when (val char = next(path)) {
            '"', '\\', '/' -> char.toString()
            'b' -> "\b"
            'f' -> "\u000C"
            'n' -> "\n"
            'r' -> "\r"
            't' -> "\t"
            'u' -> unicode(path)
            else -> fail(path, "unknown escape \\$char")
        }

    private fun unicode(path: String): String {
        val high = hex(path)
        if (high.isLowSurrogate()) fail(path, "lone surrogate")
        if (!high.isHighSurrogate()) return high.toString()
        if (next(path) != '\\' || next(path) != 'u') fail(path, "lone surrogate")
        val low = hex(path)
        if (!low.isLowSurrogate()) fail(path, "lone surrogate")
        return String(charArrayOf(high, low))
    }

    private fun hex(path: String): Char {
        var code = 0
        repeat(4) {
            val digit = "0123456789abcdef".indexOf(next(path).lowercaseChar())
            if (digit < 0) fail(path, "expected four hexadecimal digits")
            code = code * 16 + digit
        }
        return code.toChar()
    }

    private fun number(path: String): Json {
        val start = at
        while (at < text.length && (text[at].isLetterOrDigit() || text[at] in "+-.")) at++
        val literal = text.substring(start, at)
        if (!NUMBER.matches(literal)) fail(path, "not JSON at character $start")
        return Json.Number(literal)
    }

    private fun word(
        word: String,
        value: Json,
        path: String,
    ): Json {
        if (!text.startsWith(word, at)) fail(path, "not JSON at character $at")
        at += word.length
        return value
    }

    private fun skipBlanks() {
        while (at < text.length && text[at] in " \t\r\n") at++
    }

    private fun peek(): Char = if (at < text.length) text[at] else '\u0000'

    private fun next(path: String): Char = if (at < text.length) text[at++] else fail(path, "cut off")

    private fun take(char: Char): Boolean = (peek() == char).also { if (it) at++ }

    private fun fail(
        path: String,
        problem: String,
    ): Nothing = throw ProtocolException(path, problem)
}

/** One line of JSON, without a line end. */
fun Json.encode(): String = StringBuilder().also { write(it) }.toString()

private fun Json.write(out: StringBuilder) {
    when (this) {
        is Json.Object -> {
            out.append('{')
            fields.entries.forEachIndexed { index, (name, value) ->
                if (index > 0) out.append(',')
                writeText(name, out)
                out.append(':')
                value.write(out)
            }
            out.append('}')
        }

        is Json.Array -> {
            out.append('[')
            items.forEachIndexed { index, item ->
                if (index > 0) out.append(',')
                item.write(out)
            }
            out.append(']')
        }

        is Json.Text -> {
            writeText(value, out)
        }

        is Json.Number -> {
            out.append(literal)
        }

        is Json.Bool -> {
            out.append(value)
        }

        Json.Null -> {
            out.append("null")
        }
    }
}

private fun writeText(
    text: String,
    out: StringBuilder,
) {
    out.append('"')
    text.forEachIndexed { index, char ->
        when {
            char == '"' || char == '\\' -> out.append('\\').append(char)

            char == '\n' -> out.append("\\n")

            char < ' ' -> out.append("\\u").append(char.code.toString(16).padStart(4, '0'))

            // A lone surrogate, as an engine's message may hold, has no UTF-8.
            char.isSurrogate() && !text.isPairAt(index) -> out.append('\uFFFD')

            else -> out.append(char)
        }
    }
    out.append('"')
}

private fun String.isPairAt(index: Int): Boolean =
    if (this[index].isHighSurrogate()) {
        index + 1 < length && this[index + 1].isLowSurrogate()
    } else {
        index > 0 && this[index - 1].isHighSurrogate()
    }
