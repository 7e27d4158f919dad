import java.nio.ByteBuffer;
import java.nio.ByteOrder;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.List;
import java.util.concurrent.CyclicBarrier;
import org.pytorch.executorch.EValue;
import org.pytorch.executorch.Module;
import org.pytorch.executorch.Tensor;

/** Methods of one program after one another, and each in a thread of its own: parallel_methods.py starts it.
 *
 * Arguments: the program, threads of the engine, rounds, calls a round, then of each method its name, its inputs'
 * shapes and files with commas between them, and a file of what PyTorch yields. The first computes all that the others
 * do. Prints a line for each round: nanoseconds of a call of the first, of all others after one another, and of those
 * at once; and at last the largest error beside the largest output.
 */
public class ParallelMethods {
    record Task(Module module, String method, EValue[] inputs, float[] expected) {
        EValue[] run() {
            return module.execute(method, inputs);
        }

        double error() {
            double error = 0, largest = 0;
            int place = 0;
            for (EValue output : run()) {
                for (float found : output.toTensor().getDataAsFloatArray()) {
                    error = Math.max(error, Math.abs(found - expected[place]));
                    largest = Math.max(largest, Math.abs(expected[place++]));
                }
            }
            return place == expected.length ? error / largest : Double.POSITIVE_INFINITY;
        }
    }

    static float[] read(String file) throws Exception {
        ByteBuffer bytes = ByteBuffer.wrap(Files.readAllBytes(Path.of(file))).order(ByteOrder.LITTLE_ENDIAN);
        float[] values = new float[bytes.remaining() / 4];
        bytes.asFloatBuffer().get(values);
        return values;
    }

    static long oneAfterAnother(List<Task> tasks, int calls) {
        long begin = System.nanoTime();
        for (int i = 0; i < calls; i++) {
            tasks.forEach(Task::run);
        }
        return (System.nanoTime() - begin) / calls;
    }

    static long atOnce(List<Task> tasks, int calls) throws Exception {
        CyclicBarrier together = new CyclicBarrier(tasks.size() + 1);
        List<Thread> threads = new ArrayList<>();
        for (Task task : tasks) {
            Thread thread = new Thread(() -> {
                try {
                    together.await();
                    for (int i = 0; i < calls; i++) {
                        task.run();
                        together.await(); // None begins a call before all have ended the one before.
                    }
                } catch (Exception problem) {
                    throw new IllegalStateException(problem);
                }
            });
            thread.setDaemon(true);
            thread.start();
            threads.add(thread);
        }
        together.await();
        long begin = System.nanoTime();
        for (int i = 0; i < calls; i++) {
            together.await();
        }
        long taken = (System.nanoTime() - begin) / calls;
        for (Thread thread : threads) {
            thread.join();
        }
        return taken;
    }

    public static void main(String[] words) throws Exception {
        int rounds = Integer.parseInt(words[2]), calls = Integer.parseInt(words[3]);
        List<Task> tasks = new ArrayList<>();
        for (int at = 4; at < words.length; at += 4) {
            Module module = Module.load(words[0], Module.LOAD_MODE_MMAP, Integer.parseInt(words[1]));
            module.loadMethod(words[at]);
            String[] shapes = words[at + 1].split(","), files = words[at + 2].split(",");
            EValue[] inputs = new EValue[files.length];
            for (int i = 0; i < files.length; i++) {
                long[] shape = Arrays.stream(shapes[i].split("x")).mapToLong(Long::parseLong).toArray();
                inputs[i] = EValue.from(Tensor.fromBlob(read(files[i]), shape));
            }
            tasks.add(new Task(module, words[at], inputs, read(words[at + 3])));
        }
        List<Task> whole = tasks.subList(0, 1), parts = tasks.subList(1, tasks.size());
        oneAfterAnother(tasks, calls);
        atOnce(parts, calls);
        for (int round = 0; round < rounds; round++) {
            System.out.println(
                oneAfterAnother(whole, calls) + " " + oneAfterAnother(parts, calls) + " " + atOnce(parts, calls));
        }
        System.out.println(tasks.stream().mapToDouble(Task::error).max().getAsDouble());
        Runtime.getRuntime().halt(0);
    }
}
