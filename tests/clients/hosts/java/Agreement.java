import java.security.KeyPair;
import java.security.KeyPairGenerator;
import java.security.Provider;
import java.security.Security;
import java.security.interfaces.ECPublicKey;
import java.util.Arrays;
import javax.crypto.KeyAgreement;
import javax.crypto.SecretKey;

/** ECDH with the token's keys: both ends come to the same secret, whoever computes. */
final class Agreement {
    public static void main(String[] args) throws Exception {
        Token token = new Token(args[0], args[1]);
        Provider java = Security.getProvider("SunEC");
        for (String alias : new String[] {"p256", "p384", "p521"}) {
            KeyPair ours = token.pair(alias);
            KeyPairGenerator generator = KeyPairGenerator.getInstance("EC", java);
            generator.initialize(((ECPublicKey) ours.getPublic()).getParams());
            for (int round = 0; round < 20; round++) {
                KeyPair theirs = generator.generateKeyPair();
                byte[] here = agree(token.provider, ours, theirs).generateSecret();
                byte[] there = agree(java, theirs, ours).generateSecret();
                Token.check(Arrays.equals(here, there), alias + ": two secrets");
                SecretKey key = agree(token.provider, ours, theirs).generateSecret("TlsPremasterSecret");
                Token.check(Arrays.equals(key.getEncoded(), there), alias + ": another premaster secret");
            }
            // A pair of the session's, made by KMS and gone with the session.
            KeyPairGenerator onToken = KeyPairGenerator.getInstance("EC", token.provider);
            onToken.initialize(((ECPublicKey) ours.getPublic()).getParams());
            KeyPair passing = onToken.generateKeyPair();
            Token.check(Arrays.equals(agree(token.provider, passing, ours).generateSecret(),
                agree(token.provider, ours, passing).generateSecret()), alias + ": two secrets of the token");
            System.out.println("ECDH " + alias);
        }
    }

    static KeyAgreement agree(Provider by, KeyPair own, KeyPair other) throws Exception {
        KeyAgreement agreement = KeyAgreement.getInstance("ECDH", by);
        agreement.init(own.getPrivate());
        agreement.doPhase(other.getPublic(), true);
        return agreement;
    }
}
