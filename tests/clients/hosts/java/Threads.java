import java.security.KeyPair;
import java.security.Signature;
import java.util.ArrayList;
import java.util.List;
import java.util.Random;
import java.util.concurrent.Callable;
import java.util.concurrent.CyclicBarrier;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.Future;

/** `alias algorithm threads signatures-of-each`: many threads sign at once; one signature in fifty is verified by Java itself. */
final class Threads {
    public static void main(String[] args) throws Exception {
        Token token = new Token(args[0], args[1]);
        KeyPair pair = token.pair(args[2]);
        String algorithm = args[3];
        int threads = Integer.parseInt(args[4]), each = Integer.parseInt(args[5]);
        ExecutorService pool = Executors.newFixedThreadPool(threads, work -> {
            Thread thread = new Thread(work);
            thread.setDaemon(true);
            return thread;
        });
        CyclicBarrier start = new CyclicBarrier(threads + 1);
        List<Future<Integer>> all = new ArrayList<>();
        for (int thread = 0; thread < threads; thread++) {
            Random random = new Random(thread);
            all.add(pool.submit((Callable<Integer>) () -> {
                start.await();
                int verified = 0;
                byte[] message = new byte[100];
                for (int i = 0; i < each; i++) {
                    random.nextBytes(message);
                    // A new object every time, as servers do it: each borrows a session and gives it back.
                    Signature signer = Signature.getInstance(algorithm, token.provider);
                    signer.initSign(pair.getPrivate());
                    signer.update(message);
                    byte[] signature = signer.sign();
                    if (i % 50 != 0) continue;
                    Signature verifier = Signature.getInstance(algorithm);
                    verifier.initVerify(pair.getPublic());
                    verifier.update(message);
                    Token.check(verifier.verify(signature), "a wrong signature");
                    verified++;
                }
                return verified;
            }));
        }
        start.await();
        long began = System.nanoTime();
        int verified = 0;
        for (Future<Integer> one : all) verified += one.get();
        double seconds = (System.nanoTime() - began) / 1e9;
        System.out.printf("%d x %d signatures, %d verified, in %.1f s: %.0f a second%n", threads, each, verified, seconds,
            threads * each / seconds);
    }
}
