package dev.mobilekit.bench

import org.codehaus.mojo.animal_sniffer.ClassListBuilder
import org.codehaus.mojo.animal_sniffer.IgnoreJRERequirement
import org.codehaus.mojo.animal_sniffer.SignatureChecker
import org.codehaus.mojo.animal_sniffer.logging.PrintWriterLogger
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.ByteArrayOutputStream
import java.io.File
import java.io.FileInputStream
import java.io.PrintStream
import java.nio.file.Files
import java.nio.file.Path

// The runtimes and Kotlin's library promise their own lowest level.
private val others =
    listOf("kotlin.*", "dev.mobilekit.*", "ai.onnxruntime.*", "org.tensorflow.*", "org.pytorch.*")

/** The compiler sees newer classes than the oldest phone has; this sees what is used of them. */
class ApiLevelTest {
    private fun undefinedReferences(places: List<File>): String {
        val log = ByteArrayOutputStream()
        val logger = PrintWriterLogger(PrintStream(log, true))
        val own = ClassListBuilder(logger).also { list -> places.forEach(list::process) }.packages
        FileInputStream(System.getProperty("androidApi")).use { signature ->
            val checker = SignatureChecker(signature, own + others, logger)
            checker.setAnnotationTypes(listOf(IgnoreJRERequirement::class.java.name))
            checker.setSourcePath(emptyList())
            places.forEach(checker::process)
        }
        return log
            .toString()
            .lines()
            .filter { "Undefined reference" in it }
            .joinToString("\n")
    }

    @Test
    fun `nothing is used that the oldest phone has not got`() {
        val modules = listOf("app", "core", "onnx", "litert", "executorch")
        val places = modules.map { File("../$it/target/classes/dev/mobilekit") }.filter(File::exists)

        assertTrue("$places", places.size >= 2)
        assertEquals("", undefinedReferences(places))
    }

    @Test
    fun `what the oldest phone has not got is seen`() {
        val control = Control::class.java.name.replace('.', '/') + ".class"
        val place = File(checkNotNull(javaClass.classLoader?.getResource(control)).toURI())

        assertTrue(undefinedReferences(listOf(place)), "java.nio.file.Files" in undefinedReferences(listOf(place)))
    }

    /** Compiles here, and would crash on Android before 8. */
    class Control {
        fun read(path: Path): ByteArray = Files.readAllBytes(path)
    }
}
