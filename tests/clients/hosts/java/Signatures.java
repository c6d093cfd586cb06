import java.security.KeyPair;
import java.security.PublicKey;
import java.security.Provider;
import java.security.Security;
import java.security.Signature;
import java.security.spec.AlgorithmParameterSpec;
import java.security.spec.MGF1ParameterSpec;
import java.security.spec.PSSParameterSpec;
import java.util.Map;
import java.util.Random;
import java.util.stream.Stream;

/**
 * Every signature algorithm that SunPKCS11 makes of the module's mechanisms, with every key it fits.
 *
 * The token signs; the token and Java's own providers verify; a changed message is refused by the token.
 */
final class Signatures {
    static final String[] RSA = {"rsa", "rsa3072"}, EC = {"p256", "p384", "p521"};
    static final Map<String, Integer> HASHES = Map.of("SHA-1", 20, "SHA-224", 28, "SHA-256", 32, "SHA-384", 48, "SHA-512", 64);
    static final Random random = new Random(1);

    public static void main(String[] args) throws Exception {
        Token token = new Token(args[0], args[1]);
        int done = 0;
        for (String algorithm : token.algorithms("Signature")) {
            // JDK 17 has no parameters of its own for these: it fails before it calls the module.
            if (algorithm.matches("SHA3-.*PSS")) continue;
            for (String alias : algorithm.contains("ECDSA") ? EC : RSA) {
                for (int round = 0; round < 4; round++) one(token, algorithm, token.pair(alias));
                System.out.println(algorithm + " " + alias);
                done++;
            }
        }
        System.out.println(done + " algorithms and keys");
    }

    static void one(Token token, String algorithm, KeyPair pair) throws Exception {
        Provider java = Security.getProvider(algorithm.contains("ECDSA") ? "SunEC" : "SunRsaSign");
        // What is not hashed has to fit: the length of a hash, and RSA takes any that its padding leaves room for.
        byte[] message = new byte[algorithm.startsWith("NONE") || algorithm.startsWith("Raw") ? 32 : 1 + random.nextInt(5000)];
        random.nextBytes(message);
        for (AlgorithmParameterSpec parameters : parameters(algorithm)) {
            byte[] signature = sign(algorithm, token.provider, parameters, pair, message);
            verify(algorithm, token.provider, parameters, pair.getPublic(), message, signature);
            if (algorithm.endsWith("withRSASSA-PSS")) {
                // Java itself has these by the name of none, with parameters.
                PSSParameterSpec salted = pss(algorithm.replaceFirst("SHA(.*)with.*", "SHA-$1"), true);
                verify("RSASSA-PSS", java, salted, pair.getPublic(), message, signature);
            } else if (!algorithm.equals("NONEwithRSA")) { // which Java itself lacks
                verify(algorithm, java, parameters, pair.getPublic(), message, signature);
            }
            message[random.nextInt(message.length)] ^= 1;
            refuse(algorithm, token.provider, parameters, pair.getPublic(), message, signature);
        }
    }

    static AlgorithmParameterSpec[] parameters(String algorithm) {
        if (!algorithm.equals("RSASSA-PSS")) return new AlgorithmParameterSpec[] {null};
        return HASHES.keySet().stream().flatMap(hash -> Stream.of(pss(hash, true), pss(hash, false)))
            .toArray(AlgorithmParameterSpec[]::new);
    }

    static PSSParameterSpec pss(String hash, boolean salted) {
        return new PSSParameterSpec(hash, "MGF1", new MGF1ParameterSpec(hash), salted ? HASHES.get(hash) : 0, 1);
    }

    static byte[] sign(String algorithm, Provider by, AlgorithmParameterSpec parameters, KeyPair pair, byte[] message)
        throws Exception {
        Signature signer = Signature.getInstance(algorithm, by);
        signer.initSign(pair.getPrivate());
        if (parameters != null) signer.setParameter(parameters);
        // In two parts, the first of which may be empty.
        int first = random.nextInt(message.length);
        signer.update(message, 0, first);
        signer.update(message, first, message.length - first);
        return signer.sign();
    }

    static boolean good(String algorithm, Provider by, AlgorithmParameterSpec parameters, PublicKey key, byte[] message,
        byte[] signature) throws Exception {
        Signature verifier = Signature.getInstance(algorithm, by);
        verifier.initVerify(key);
        if (parameters != null) verifier.setParameter(parameters);
        verifier.update(message);
        return verifier.verify(signature);
    }

    static void verify(String algorithm, Provider by, AlgorithmParameterSpec parameters, PublicKey key, byte[] message,
        byte[] signature) throws Exception {
        Token.check(good(algorithm, by, parameters, key, message, signature), algorithm + ": refused by " + by.getName());
    }

    static void refuse(String algorithm, Provider by, AlgorithmParameterSpec parameters, PublicKey key, byte[] message,
        byte[] signature) throws Exception {
        Token.check(!good(algorithm, by, parameters, key, message, signature), algorithm + ": a changed message passes");
    }
}
