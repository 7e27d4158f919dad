package dev.mobilekit.bench

import dev.mobilekit.bench.core.Engine
import dev.mobilekit.bench.core.EngineChoice
import dev.mobilekit.bench.core.EngineProvider
import dev.mobilekit.bench.core.Format
import dev.mobilekit.bench.core.Program
import dev.mobilekit.bench.core.TracedProgram
import dev.mobilekit.bench.core.readArmFeatures
import org.junit.Assert.assertEquals
import org.junit.Assert.assertTrue
import org.junit.Test
import java.io.File

class EngineChoiceTest {
    private object Fake : Engine, EngineProvider {
        override val name = "fake"
        override val version = "1"
        override val title = "Fake"
        override val format = Format.PTE
        override val minimumApi = 26
        override val abis = setOf("arm64-v8a")
        override val armFeatures = setOf("atomics")

        var told: String? = null

        override fun make(vulkanObstacle: String?) = this.also { told = vulkanObstacle }

        override fun load(
            artifact: File,
            method: String,
            threads: Int,
            weights: File?,
        ): Program = error("nothing is loaded here")

        override fun loadTraced(
            artifact: File,
            method: String,
            threads: Int,
            weights: File?,
        ): TracedProgram = error("nothing is loaded here")
    }

    private fun missing(
        format: Format = Format.PTE,
        abi: String = "arm64-v8a",
        api: Int = 26,
        armFeatures: Set<String>? = null,
    ) = (chooseEngine(format, listOf(Fake), abi, api, armFeatures, null) as EngineChoice.Missing).reason

    @Test
    fun `an engine that the phone can run is chosen`() {
        for (armFeatures in listOf(setOf("asimd", "atomics"), null)) {
            val choice = chooseEngine(Format.PTE, listOf(Fake), "arm64-v8a", 26, armFeatures, null)
            assertTrue(choice is EngineChoice.Found)
        }
    }

    @Test
    fun `an engine is told what keeps it from the graphics processor`() {
        for (obstacle in listOf("no Vulkan", null)) {
            chooseEngine(Format.PTE, listOf(Fake), "arm64-v8a", 26, null, obstacle)
            assertEquals(obstacle, Fake.told)
        }
    }

    @Test
    fun `a phone has Vulkan in a version of its own`() {
        fun obstacle(
            api: Int,
            vulkan: Int,
        ) = findVulkanObstacle(api) { feature, version ->
            feature == "android.hardware.vulkan.version" && vulkan >= version
        }
        assertEquals(null, obstacle(24, 0x401000))
        assertEquals(null, obstacle(35, 0x403000))
        for (reason in listOf(obstacle(35, 0), obstacle(35, 0x400003), obstacle(23, 0x401000))) {
            assertEquals("this phone has no Vulkan 1.1 in its hardware", reason)
        }
    }

    @Test
    fun `an engine that cannot run says why`() {
        assertEquals("this build of the app has no engine for .onnx", missing(format = Format.ONNX))
        assertEquals("Fake has no library for armeabi-v7a", missing(abi = "armeabi-v7a"))
        assertEquals("Fake needs Android API 26; this is 25", missing(api = 25))
        assertEquals("Fake needs a processor with atomics", missing(armFeatures = setOf("asimd", "crc32")))
    }

    @Test
    fun `a processor has what all of its cores have`() {
        val file = File.createTempFile("cpuinfo", null)
        file.writeText(
            "processor\t: 0\nFeatures\t: fp asimd atomics\n\nprocessor\t: 4\nFeatures\t: fp asimd \n",
        )
        assertEquals(setOf("fp", "asimd"), readArmFeatures(file))
        file.writeText("flags\t\t: fpu vme\n")
        assertEquals(null, readArmFeatures(file))
        assertEquals(null, readArmFeatures(File("/nowhere")))
    }
}
